// The Boost.Fiber peer: the same questions asked of boost::fibers.
//
// One worker uses the default round-robin scheduler, several use work_stealing, which spins when idle:
// with suspension, idle workers would not be woken and it would measure slower. Fibers are started with
// launch::post and, as a user gets it by default, with a fixed-size stack of 128 KiB from malloc.
// Boost.Fiber has neither select nor sockets, so it offers neither select nor echo nor c10k.
#include <atomic>
#include <boost/fiber/all.hpp>
#include <map>
#include <mutex>
#include <thread>

#include "../../bench.hpp"
#include "../../parked.hpp"
#include "../hog.hpp"

namespace fibers = boost::fibers;
using bench::options;

namespace {

std::vector<fibers::fiber> start(long n, const std::function<void(long)>& work) {
  std::vector<fibers::fiber> all;
  for (long i = 0; i < n; ++i) all.emplace_back(fibers::launch::post, [work, i] { work(i); });
  return all;
}

void join(std::vector<fibers::fiber>& all) {
  for (auto& f : all) f.join();
}

void yield(const options& o) {
  bench::measure("", o.scaled(4000000), [](long n) {
    auto all = start(8, [n](long) {
      for (long i = 0; i < n / 8; ++i) boost::this_fiber::yield();
    });
    join(all);
  });
}

void spawn_join(const options& o) {
  bench::measure("", o.scaled(500000), [](long n) {
    for (long i = 0; i < n; ++i) fibers::fiber(fibers::launch::post, [] {}).join();
  });
  bench::measure("batch", o.scaled(100000), [](long n) {
    std::vector<fibers::fiber> all(1000);
    for (long i = 0; i < n; i += 1000) {
      for (auto& f : all) f = fibers::fiber(fibers::launch::post, [] {});
      join(all);
    }
  });
}

void ping_pong(const options& o) {
  bench::measure("", o.scaled(1000000), [](long n) {
    fibers::unbuffered_channel<long> there, back;
    fibers::fiber ping(fibers::launch::post, [&] {
      for (long i = 0; i < n; ++i) {
        there.push(i);
        if (back.value_pop() != i) bench::fail("ping-pong got the wrong value back.", 1);
      }
    });
    fibers::fiber pong(fibers::launch::post, [&] {
      for (long i = 0; i < n; ++i) back.push(there.value_pop());
    });
    ping.join();
    pong.join();
  });
}

void pump(long n, long pairs) {
  fibers::buffered_channel<long> ch(128);
  long each = n / pairs;
  std::atomic<long> total{0};
  auto producers = start(pairs, [&ch, each](long) {
    for (long i = 0; i < each; ++i) ch.push(i);
  });
  auto consumers = start(pairs, [&](long) {
    long sum = 0;
    for (long v; ch.pop(v) == fibers::channel_op_status::success;) sum += v;
    total += sum;
  });
  join(producers);
  ch.close();
  join(consumers);
  if (total != pairs * (each * (each - 1) / 2)) bench::fail("chan_throughput lost a message.", 1);
}

void throughput(const options& o) {
  bench::measure("1x1", o.scaled(5000000), [](long n) { pump(n, 1); });
  bench::measure("4x4", o.scaled(5000000), [](long n) { pump(n, 4); });
}

void contended_mutex(const options& o) {
  bench::measure("", o.scaled(8000000), [](long n) {
    fibers::mutex lock;
    long counter = 0;
    auto all = start(8, [&, n](long) {
      for (long i = 0; i < n / 8; ++i) {
        std::lock_guard<fibers::mutex> guard(lock);
        ++counter;
      }
    });
    join(all);
    if (counter != n / 8 * 8) bench::fail("The mutex lost an increment.", 1);
  });
}

using sums = fibers::unbuffered_channel<long>;

void skynet_node(sums& result, long first, long size) {
  if (size == 1) return void(result.push(first));
  sums children;
  for (long i = 0; i < 10; ++i)
    fibers::fiber(fibers::launch::post, skynet_node, std::ref(children), first + i * size / 10, size / 10).detach();
  long sum = 0;
  for (long i = 0; i < 10; ++i) sum += children.value_pop();
  result.push(sum);
}

// A hundred thousand leaves only: with a million, the stacks that malloc maps and unmaps take a minute.
void skynet(const options& o) {
  bench::measure("", o.scaled(100000), [](long leaves) {
    long size = 1;
    while (size < leaves) size *= 10;
    sums result;
    fibers::fiber(fibers::launch::post, skynet_node, std::ref(result), 0, size).detach();
    if (result.value_pop() != size * (size - 1) / 2) bench::fail("skynet computed a wrong sum.", 1);
  });
}

void ring(const options& o) {
  constexpr long nodes = 1000;
  bench::measure("", o.scaled(2000000), [](long n) {
    long laps = n / nodes + 1;
    std::vector<fibers::unbuffered_channel<long>> links(nodes);
    auto all = start(nodes - 1, [&](long i) {
      for (long l = 0; l < laps; ++l) links[std::size_t(i) + 1].push(links[std::size_t(i)].value_pop() + 1);
    });
    long token = 0;
    for (long l = 0; l < laps; ++l) {
      links[0].push(token);
      token = links[nodes - 1].value_pop();
    }
    join(all);
    if (token != laps * (nodes - 1)) bench::fail("The ring's token lost a hop.", 1);
  });
}

void timers(const options& o) {
  constexpr long waiters = 1000;
  bench::measure("", o.scaled(1000000), [](long n) {
    long rounds = n / waiters + 1;
    std::vector<fibers::unbuffered_channel<long>> inbox(waiters);
    auto all = start(waiters, [&, rounds](long i) {
      for (long r = 0, v; r < rounds; ++r)
        if (inbox[std::size_t(i)].pop_wait_for(v, std::chrono::hours(1)) != fibers::channel_op_status::success)
          bench::fail("A limit of one hour has passed too early.", 1);
    });
    for (long r = 0; r < rounds; ++r)
      for (auto& in : inbox) in.push(r);
    join(all);
  });
}

void parked_memory(const options& o) {
  long n = o.count ? o.count : o.quick ? 10000 : 100000;
  bench::parked crowd(n);
  auto sleep = [](auto d) { boost::this_fiber::sleep_for(d); };
  auto all = start(n, [&](long) {
    ++crowd.started;
    sleep(std::chrono::nanoseconds(long(o.seconds * 1e9)));
    ++crowd.ended;
  });
  crowd.weigh(sleep);
  join(all);
  crowd.report();
}

void call_runtime_without_waiting() {
  fibers::mutex lock;
  fibers::buffered_channel<int> full(2);
  for (int i = 0; i < 1000; ++i) {
    std::lock_guard<fibers::mutex> guard(lock);
    full.try_push(1);
  }
}

void hog_fairness(const options& o) {
  auto end = hog::after(o.seconds);
  std::vector<double> late;
  fibers::promise<void> ready;
  fibers::fiber ticker(fibers::launch::post, [&] {
    auto sleep = [] { boost::this_fiber::sleep_for(std::chrono::milliseconds(1)); };
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

// Runs `work` in a fiber (the main one could not be stolen) on `workers` threads.
void run(unsigned workers, const std::function<void()>& work) {
  if (workers == 1) return fibers::fiber(fibers::launch::post, work).join();
  std::mutex mutex;
  fibers::condition_variable_any finished;
  bool done = false;
  auto until_done = [&] {
    std::unique_lock<std::mutex> lock(mutex);
    finished.wait(lock, [&] { return done; });
  };
  std::vector<std::thread> others;
  for (unsigned i = 1; i < workers; ++i)
    others.emplace_back([&] {
      fibers::use_scheduling_algorithm<fibers::algo::work_stealing>(workers);
      until_done();
    });
  fibers::use_scheduling_algorithm<fibers::algo::work_stealing>(workers);
  fibers::fiber(fibers::launch::post, work).join();
  {
    std::lock_guard<std::mutex> lock(mutex);
    done = true;
  }
  finished.notify_all();
  for (auto& t : others) t.join();
}

const std::map<std::string, void (*)(const options&)> benches = {
    {"yield", yield},
    {"spawn_join", spawn_join},
    {"chan_pingpong", ping_pong},
    {"chan_throughput", throughput},
    {"mutex", contended_mutex},
    {"skynet", skynet},
    {"ring", ring},
    {"timers", timers},
    {"parked_memory", parked_memory},
    {"hog_fairness", hog_fairness},
};

}  // namespace

int main(int argc, char** argv) {
  options o = bench::parse(argc, argv);
  auto found = benches.find(o.bench);
  if (found == benches.end())
    bench::fail("The Boost.Fiber peer does not offer '" + o.bench + "'.", bench::exit_not_offered);
  run(o.workers, [&] { found->second(o); });
}
