// Bounded concurrency: no more than so many at a time, in order, and the fastest of several.
#include <chrono>
#include <cstdio>
#include <map>
#include <numeric>
#include <string>
#include <thrum/thrum.hpp>
#include <vector>

using namespace std::chrono_literals;

namespace {

// Stands for a request to a server that answers after a while.
std::string fetch(int page) {
  thrum::this_fiber::sleep_for(std::chrono::milliseconds(page % 5));
  return "page " + std::to_string(page);
}

int ask(int replica, std::chrono::milliseconds latency) {
  thrum::this_fiber::sleep_for(latency);
  return replica;
}

int show() {
  std::vector<int> pages(100);
  std::iota(pages.begin(), pages.end(), 1);

  // A hundred requests, eight at a time; the results are in the order of the pages.
  const auto texts = thrum::map_concurrent(pages, 8, fetch);
  std::printf("%s to %s\n", texts.front().c_str(), texts.back().c_str());

  // What they share is reachable only under its lock.
  thrum::guarded<std::map<std::size_t, int>> lengths;
  thrum::for_each_concurrent(texts, 8, [&](const std::string& text) { ++(*lengths.lock())[text.size()]; });
  for (const auto& [length, count] : *lengths.lock()) std::printf("%d of length %zu\n", count, length);

  // The first answer counts. The other replica's request is cancelled, and has ended when race() returns.
  const int winner = thrum::race([] { return ask(1, 10s); }, [] { return ask(2, 1ms); });
  std::printf("replica %d was faster\n", winner);

  // On all workers.
  const long sum = thrum::parallel_reduce(1L, 1'000'001L, 0L, std::plus<>(), [](long i) { return i; });
  std::printf("the sum is %ld\n", sum);
  return 0;
}

}  // namespace

int main() { return thrum::run(show); }
