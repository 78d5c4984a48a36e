// Producers and consumers: channels between fibers, a select that also ticks, and an orderly end by closing.
#include <chrono>
#include <cstdio>
#include <optional>
#include <thrum/thrum.hpp>

using namespace std::chrono_literals;

namespace {

constexpr int producers = 3;
constexpr int consumers = 2;
constexpr int numbers_each = 100;

// Sends its share of 1 .. 300.
void produce(thrum::channel<int> numbers, int which) {
  for (int i = 0; i < numbers_each; ++i) {
    numbers.send(which * numbers_each + i + 1);
    if (i % 20 == 0) thrum::this_fiber::sleep_for(1ms);
  }
}

// Adds up what it receives until the channel is closed and drained.
void consume(thrum::channel<int> numbers, thrum::channel<long> sums) {
  long sum = 0;
  for (int number : numbers) sum += number;
  sums.send(sum);
}

// Waits for the consumers' sums, and meanwhile counts a tick each time nothing has arrived for a millisecond.
long collect(thrum::channel<long> sums, int& ticks) {
  long total = 0;
  int missing = consumers;
  auto add = [&](std::optional<long> sum) {
    total += *sum;
    --missing;
  };
  while (missing > 0) thrum::select(sums.on_receive(add), thrum::after(1ms, [&] { ++ticks; }));
  return total;
}

int run_pipeline() {
  thrum::channel<int> numbers(16);  // Sixteen may wait between the two sides; then senders do.
  thrum::channel<long> sums(0);     // A rendezvous: each send meets a receive.
  thrum::wait_group producing(producers);
  thrum::scope fibers;
  for (int i = 0; i < consumers; ++i) fibers.go([=] { consume(numbers, sums); });
  for (int i = 0; i < producers; ++i)
    fibers.go([=, &producing] {
      produce(numbers, i);
      producing.done();
    });
  fibers.go([&] {
    producing.wait();
    numbers.close();
  });
  int ticks = 0;
  const long total = collect(sums, ticks);
  fibers.join();
  std::printf("%d producers sent %d numbers, %d consumers saw the sum %ld, in %s ticks\n", producers,
              producers * numbers_each, consumers, total, ticks > 0 ? "some" : "no");
  return 0;
}

}  // namespace

int main() { return thrum::run(run_pipeline); }
