// uncontended: one fiber takes and gives back what nobody else wants. One operation is a lock and an unlock, an acquire
// and a release, or a try_send and a try_receive.
#include <mutex>
#include <shared_mutex>

#include "thrum_bench.hpp"

template <class Lock, class Mutex>
static void lock_and_unlock(Mutex& m, long n) {
  long counter = 0;
  for (long i = 0; i < n; ++i) {
    Lock hold(m);
    ++counter;
  }
  if (counter != n) bench::fail("The lock lost an increment.", 1);
}

static void acquire_and_release(long n) {
  thrum::counting_semaphore<> permits(2);
  for (long i = 0; i < n; ++i) {
    permits.acquire();
    permits.release();
  }
  if (!permits.try_acquire() || !permits.try_acquire() || permits.try_acquire())
    bench::fail("The semaphore lost a permit.", 1);
}

static void send_and_receive(long n) {
  thrum::channel<long> ch(128);
  for (long i = 0; i < n; ++i)
    if (!ch.try_send(i) || ch.try_receive() != i) bench::fail("The channel lost a message.", 1);
}

int main(int argc, char** argv) {
  return bench::in_runtime(argc, argv, [](const bench::options& o) {
    const long n = o.scaled(20000000);
    thrum::mutex m;
    thrum::shared_mutex s;
    bench::measure("mutex", n, [&](long k) { lock_and_unlock<std::lock_guard<thrum::mutex>>(m, k); });
    bench::measure("shared_mutex", n, [&](long k) { lock_and_unlock<std::lock_guard<thrum::shared_mutex>>(s, k); });
    bench::measure("shared_mutex-read", n,
                   [&](long k) { lock_and_unlock<std::shared_lock<thrum::shared_mutex>>(s, k); });
    bench::measure("semaphore", n, acquire_and_release);
    bench::measure("channel", n, send_and_receive);
  });
}
