// Functions that crash, hang and throw, in processes of their own: the program goes on, and knows what happened.
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <span>
#include <stdexcept>
#include <string_view>
#include <system_error>
#include <vector>

#include <thrum/thrum.hpp>

using namespace std::chrono_literals;

// A parser that its author trusts too much.
int parse(std::string_view text) {
  if (text == "loop")
    for (volatile bool go = true; go;) {
    }
  if (text == "crash") std::abort();
  if (text.empty()) throw std::invalid_argument("nothing to parse");
  return static_cast<int>(text.size());
}

void parse_what_strangers_send(thrum::process_pool& pool) {
  for (const char* text : {"hello", "crash", "loop", "", "goodbye"}) {
    try {
      std::printf("%s: %d\n", text, pool.call(parse, text));
    } catch (const thrum::worker_error& e) {
      std::printf("%s: %s\n", text, e.what());
    }
  }
}

// The workers read the numbers where they are, and cannot change them.
void sum_without_copying(thrum::process_pool& pool) {
  constexpr std::size_t count = 1'000'000;
  auto memory = thrum::shared_memory::create(count * sizeof(int));
  const std::span numbers(reinterpret_cast<int*>(memory.bytes().data()), count);
  std::iota(numbers.begin(), numbers.end(), 1);
  memory.freeze();
  const long sum = pool.call(
      [](const thrum::shared_memory& m) {
        const auto* first = reinterpret_cast<const int*>(m.bytes().data());
        return std::accumulate(first, first + m.size() / sizeof(int), 0L);
      },
      memory);
  std::printf("the sum is %ld\n", sum);
}

int main() {
  thrum::process_pool::serve_if_worker();
  return thrum::run([] {
    thrum::process_pool pool({.workers = 2, .timeout = 1s});
    parse_what_strangers_send(pool);
    sum_without_copying(pool);
    pool.join();
  });
}
