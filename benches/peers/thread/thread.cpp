// The std::thread peer: the same questions asked of OS threads with std::mutex and std::condition_variable.
//
// With --workers 1 the process keeps to one core, except in hog_fairness, parked_memory and the servers:
// there the question is what threads do on the whole machine (or where the driver has put them).
#include <sched.h>
#include <semaphore.h>
#include <sys/prctl.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <future>
#include <latch>
#include <map>
#include <memory>
#include <mutex>
#include <semaphore>
#include <shared_mutex>
#include <system_error>
#include <thread>

#include "../../bench.hpp"
#include "../../contention.hpp"
#include "../../parked.hpp"
#include "../../server.hpp"
#include "../hog.hpp"
#include "channel.hpp"

using bench::options;

namespace {

void keep_to_one_core() {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(unsigned(sched_getcpu()), &set);
  sched_setaffinity(0, sizeof set, &set);
}

std::vector<std::thread> start(long n, const std::function<void(long)>& work) {
  std::vector<std::thread> threads;
  for (long i = 0; i < n; ++i) threads.emplace_back(work, i);
  return threads;
}

void join(std::vector<std::thread>& threads) {
  for (auto& t : threads) t.join();
}

void yield(const options& o) {
  bench::measure("", o.scaled(1000000), [](long n) {
    auto all = start(8, [n](long) {
      for (long i = 0; i < n / 8; ++i) std::this_thread::yield();
    });
    join(all);
  });
}

void spawn_join(const options& o) {
  bench::measure("", o.scaled(20000), [](long n) {
    for (long i = 0; i < n; ++i) std::thread([] {}).join();
  });
  bench::measure("batch", o.scaled(20000), [](long n) {
    for (long i = 0; i < n; i += 1000) {
      auto all = start(1000, [](long) {});
      join(all);
    }
  });
}

void ping_pong(const options& o) {
  bench::measure("", o.scaled(50000), [](long n) {
    unbuffered<long> there, back;
    std::thread echo([&] {
      for (long i = 0; i < n; ++i) back.send(there.receive());
    });
    for (long i = 0; i < n; ++i) {
      there.send(i);
      if (back.receive() != i) bench::fail("ping-pong got the wrong value back.", 1);
    }
    echo.join();
  });
}

void pump(long n, long pairs) {
  buffered<long> ch(128);
  long each = n / pairs;
  std::atomic<long> total{0};
  auto producers = start(pairs, [&](long) {
    for (long i = 0; i < each; ++i) ch.send(i);
  });
  auto consumers = start(pairs, [&](long) {
    long sum = 0;
    for (long v; ch.receive(v);) sum += v;
    total += sum;
  });
  join(producers);
  ch.close();
  join(consumers);
  if (total != pairs * (each * (each - 1) / 2)) bench::fail("chan_throughput lost a message.", 1);
}

void throughput(const options& o) {
  bench::measure("1x1", o.scaled(2000000), [](long n) { pump(n, 1); });
  bench::measure("4x4", o.scaled(2000000), [](long n) { pump(n, 4); });
}

void contended_mutex(const options& o) {
  bench::measure("", o.scaled(8000000), [](long n) {
    std::mutex lock;
    long counter = 0;
    auto all = start(8, [&, n](long) {
      for (long i = 0; i < n / 8; ++i) {
        std::lock_guard guard(lock);
        ++counter;
      }
    });
    join(all);
    if (counter != n / 8 * 8) bench::fail("The mutex lost an increment.", 1);
  });
}

template <class Lock, class Mutex>
void lock_and_unlock(Mutex& m, long n) {
  long counter = 0;
  for (long i = 0; i < n; ++i) {
    Lock hold(m);
    ++counter;
  }
  if (counter != n) bench::fail("The lock lost an increment.", 1);
}

void acquire_and_release(long n) {
  std::counting_semaphore<> permits(2);
  for (long i = 0; i < n; ++i) {
    permits.acquire();
    permits.release();
  }
  if (!permits.try_acquire() || !permits.try_acquire() || permits.try_acquire())
    bench::fail("The semaphore lost a permit.", 1);
}

void push_and_pop(long n) {
  guarded_queue<long> queue(128);
  for (long i = 0; i < n; ++i)
    if (!queue.try_push(i) || queue.try_pop() != i) bench::fail("The queue lost a message.", 1);
}

// In a second thread: the C library's mutexes do without atomic instructions while a process has one thread only.
void uncontended(const options& o) {
  std::thread([n = o.scaled(20000000)] {
    std::mutex m;
    std::shared_mutex s;
    bench::measure("mutex", n, [&](long k) { lock_and_unlock<std::lock_guard<std::mutex>>(m, k); });
    bench::measure("shared_mutex", n, [&](long k) { lock_and_unlock<std::lock_guard<std::shared_mutex>>(s, k); });
    bench::measure("shared_mutex-read", n, [&](long k) { lock_and_unlock<std::shared_lock<std::shared_mutex>>(s, k); });
    bench::measure("semaphore", n, acquire_and_release);
    bench::measure("channel", n, push_and_pop);
  }).join();
}

// POSIX's. std::counting_semaphore of GCC 12's library loses wake-ups where several release while several wait (GCC bug
// 104928): contended hung in it once in some dozens of runs.
class posix_semaphore {
 public:
  explicit posix_semaphore(long permits) { sem_init(&sem_, 0, unsigned(permits)); }
  ~posix_semaphore() { sem_destroy(&sem_); }
  posix_semaphore(const posix_semaphore&) = delete;
  posix_semaphore& operator=(const posix_semaphore&) = delete;
  void acquire() {
    while (sem_wait(&sem_) != 0) {  // Interrupted by a signal.
    }
  }
  void release() { sem_post(&sem_); }

 private:
  sem_t sem_;
};

void contended(const options& o) {
  using starter = decltype(&start);
  using joiner = decltype(&join);
  bench::contention<std::latch, std::mutex, std::shared_mutex, posix_semaphore, starter, joiner>(o, &start, &join)
      .measure(o.scaled(10000000));
}

void ring(const options& o) {
  constexpr long nodes = 1000;
  bench::measure("", o.scaled(50000), [](long n) {
    long laps = n / nodes + 1;
    std::vector<unbuffered<long>> links(nodes);
    auto all = start(nodes - 1, [&](long i) {
      for (long l = 0; l < laps; ++l) links[std::size_t(i) + 1].send(links[std::size_t(i)].receive() + 1);
    });
    long token = 0;
    for (long l = 0; l < laps; ++l) {
      links[0].send(token);
      token = links[nodes - 1].receive();
    }
    join(all);
    if (token != laps * (nodes - 1)) bench::fail("The ring's token lost a hop.", 1);
  });
}

void timers(const options& o) {
  constexpr long waiters = 1000;
  bench::measure("", o.scaled(50000), [](long n) {
    long rounds = n / waiters + 1;
    std::vector<unbuffered<long>> inbox(waiters);
    auto all = start(waiters, [&](long i) {
      for (long r = 0; r < rounds; ++r)
        if (!inbox[std::size_t(i)].receive_for(std::chrono::hours(1)))
          bench::fail("A limit of one hour has passed too early.", 1);
    });
    for (long r = 0; r < rounds; ++r)
      for (auto& in : inbox) in.send(r);
    join(all);
  });
}

void parked_memory(const options& o) {
  long n = o.count ? o.count : 10000;
  bench::parked crowd(n);
  auto sleep = [](auto d) { std::this_thread::sleep_for(d); };
  auto all = start(n, [&](long) {
    ++crowd.started;
    sleep(std::chrono::duration<double>(o.seconds));
    ++crowd.ended;
  });
  crowd.weigh(sleep);
  join(all);
  crowd.report();
}

void call_runtime_without_waiting() {
  std::mutex lock;
  buffered<int> full(1);
  full.send(0);
  for (int i = 0; i < 1000; ++i) {
    std::lock_guard guard(lock);
    full.try_send(1);
  }
}

void hog_fairness(const options& o) {
  auto end = hog::after(o.seconds);
  std::vector<double> late;
  std::promise<void> ready;
  std::thread ticker([&] {
    auto sleep = [] { std::this_thread::sleep_for(std::chrono::milliseconds(1)); };
    late = hog::tick_until(end, sleep, [&] { ready.set_value(); });
  });
  ready.get_future().wait();
  auto hogs = start(o.hogs * o.workers, [&](long) {
    while (hog::clock::now() < end) hog::once(o.kind, call_runtime_without_waiting);
  });
  ticker.join();
  join(hogs);
  bench::report_ticks(o, late);
}

// One thread for each connection.
void handle(int socket, std::size_t size, std::chrono::milliseconds delay) {
  const auto memory = std::make_unique_for_overwrite<char[]>(size);
  char* buffer = memory.get();
  std::size_t held = 0;
  for (;;) {
    ssize_t n = recv(socket, buffer + held, size - held, 0);
    if (n <= 0) break;
    held += std::size_t(n);
    if (delay.count() > 0) {
      if (held < bench::message_bytes) continue;
      std::this_thread::sleep_for(delay);
    }
    for (std::size_t sent = 0; sent < held; sent += std::size_t(n))
      if ((n = send(socket, buffer + sent, held - sent, MSG_NOSIGNAL)) <= 0) return void(close(socket));
    held = 0;
  }
  close(socket);
}

void serve(const options& o, std::chrono::milliseconds delay) {
  bench::prepare_server();
  int listener = bench::listen_on_loopback(o.port);
  for (;;) {
    int socket = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (socket < 0) bench::fail(std::string("accept failed: ") + std::generic_category().message(errno) + ".", 1);
    bench::no_delay(socket);
    std::thread(handle, socket, o.buffer, delay).detach();
  }
}

void echo(const options& o) { serve(o, std::chrono::milliseconds(0)); }
void c10k(const options& o) { serve(o, std::chrono::milliseconds(o.delay_ms)); }

const std::map<std::string, void (*)(const options&)> benches = {
    {"yield", yield},
    {"spawn_join", spawn_join},
    {"chan_pingpong", ping_pong},
    {"chan_throughput", throughput},
    {"mutex", contended_mutex},
    {"uncontended", uncontended},
    {"contended", contended},
    {"ring", ring},
    {"timers", timers},
    {"parked_memory", parked_memory},
    {"hog_fairness", hog_fairness},
    {"echo", echo},
    {"c10k", c10k},
};

}  // namespace

int main(int argc, char** argv) {
  options o = bench::parse(argc, argv);
  auto found = benches.find(o.bench);
  if (found == benches.end()) bench::fail("The thread peer does not offer '" + o.bench + "'.", bench::exit_not_offered);
  bool whole_machine = o.bench == "hog_fairness" || o.bench == "parked_memory";
  if (o.workers == 1 && !whole_machine) keep_to_one_core();
  found->second(o);
}
