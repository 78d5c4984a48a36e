// cancel: a scope with 100,000 children that wait, every other one on a channel and the rest sleeping. One operation is
// one child, from cancel() until join() has returned. Beside it, what a plain throw and catch through as many frames
// cost, and how many times that a child costs.
#include <atomic>
#include <utility>

#include "thrum_bench.hpp"

using namespace std::chrono_literals;

// Counts the end of the child that owns it; a destructor in the child's own frame would be a second stop for the
// exception, which a plain throw does not make.
class last_word {
 public:
  explicit last_word(std::atomic<long>& counter) : counter_(&counter) {}
  last_word(last_word&& other) noexcept : counter_(std::exchange(other.counter_, nullptr)) {}
  ~last_word() {
    if (counter_) counter_->fetch_add(1, std::memory_order_relaxed);
  }

 private:
  std::atomic<long>* counter_;
};

static double cancelled_children(long n) {
  thrum::channel<int> silent(0);
  std::atomic<long> waiting{0}, ended{0};
  thrum::scope s;
  for (long i = 0; i < n; ++i)
    s.go([&silent, &waiting, i, last = last_word(ended)] {
      waiting.fetch_add(1, std::memory_order_relaxed);
      if (i % 2 == 0)
        silent.receive();
      else
        thrum::this_fiber::sleep_for(1h);
    });
  while (waiting < n) thrum::this_fiber::sleep_for(1ms);
  thrum::this_fiber::sleep_for(100ms);  // The last ones are between their word and their wait.
  const double ns = bench::timed_ns([&] {
    s.cancel();
    s.join();
  });
  if (ended != n) bench::fail("Some children did not end with their scope.", 1);
  return ns / double(n);
}

// As deep as in a child: the function that throws, the wait that called it, and there the catch.
[[gnu::noinline]] static void throw_cancelled() { throw thrum::cancelled{}; }
[[gnu::noinline]] static void wait() {
  throw_cancelled();
  asm volatile("");  // Not a tail call.
}

static double plain_throws(long n) {
  long caught = 0;
  const double ns = bench::timed_ns([&] {
    for (long i = 0; i < n; ++i) try {
        wait();
      } catch (const thrum::cancelled&) {
        ++caught;
      }
  });
  if (caught != n) bench::fail("An exception was lost.", 1);
  return ns / double(n);
}

int main(int argc, char** argv) {
  return bench::in_runtime(argc, argv, [](const bench::options& o) {
    const long n = o.scaled(100000);
    cancelled_children(n / 10);
    plain_throws(n / 10);
    const double child = cancelled_children(n), plain = plain_throws(n);
    bench::report("", "ns_op", child, "ns");
    bench::report("", "throw_ns", plain, "ns");
    bench::report("", "times_throw", child / plain, "x");
  });
}
