// thrum's tasks, asked the same questions as fibers are by the programs beside this directory: one program, which is
// told the bench by name, as the peers are.
#include <map>
#include <string_view>

#include "../parked.hpp"
#include "../server.hpp"
#include "../thrum_bench.hpp"
#include "servers.hpp"

using namespace std::chrono_literals;
using thrum::task;

namespace {

// Runs the task as the only activity of the main fiber.
void run(task<> t) { thrum::spawn(std::move(t)).join(); }

task<> yields(long n) {
  for (long i = 0; i < n; ++i) co_await thrum::async_yield();
}

void yield(const bench::options& o) {
  bench::measure("", o.scaled(4000000), [](long n) {
    std::vector<thrum::task_handle<void>> all;
    for (int i = 0; i < 8; ++i) all.push_back(thrum::spawn(yields(n / 8)));
    for (auto& t : all) t.join();
  });
}

task<> nothing() { co_return; }

task<> one_at_a_time(long n) {
  for (long i = 0; i < n; ++i) co_await thrum::spawn(nothing()).async_join();
}

task<> in_batches(long n) {
  std::vector<thrum::task_handle<void>> all(1000);
  for (long i = 0; i < n; i += 1000) {
    for (auto& t : all) t = thrum::spawn(nothing());
    for (auto& t : all) co_await t.async_join();
  }
}

void spawn_join(const bench::options& o) {
  bench::measure("", o.scaled(1000000), [](long n) { run(one_at_a_time(n)); });
  bench::measure("batch", o.scaled(1000000), [](long n) { run(in_batches(n)); });
}

task<> ping(thrum::channel<long> there, thrum::channel<long> back, long n) {
  for (long i = 0; i < n; ++i) {
    co_await there.async_send(i);
    if (co_await back.async_receive() != i) bench::fail("ping-pong got the wrong value back.", 1);
  }
}

task<> pong(thrum::channel<long> there, thrum::channel<long> back, long n) {
  for (long i = 0; i < n; ++i) {
    const auto v = co_await there.async_receive();
    co_await back.async_send(*v);
  }
}

void chan_pingpong(const bench::options& o) {
  bench::measure("", o.scaled(1000000), [](long n) {
    thrum::channel<long> there(0), back(0);
    auto a = thrum::spawn(ping(there, back, n)), b = thrum::spawn(pong(there, back, n));
    a.join();
    b.join();
  });
}

task<> node(thrum::channel<long> result, long first, long size) {
  if (size == 1) {
    co_await result.async_send(first);
    co_return;
  }
  thrum::channel<long> children(0);
  for (long i = 0; i < 10; ++i) thrum::go(node(children, first + i * size / 10, size / 10));
  long sum = 0;
  for (long i = 0; i < 10; ++i) {
    const auto v = co_await children.async_receive();
    sum += *v;
  }
  co_await result.async_send(sum);
}

void skynet(const bench::options& o) {
  bench::measure("", o.scaled(1000000), [](long leaves) {
    long size = 1;
    while (size < leaves) size *= 10;
    thrum::channel<long> result(0);
    thrum::go(node(result, 0, size));
    if (*result.receive() != size * (size - 1) / 2) bench::fail("skynet computed a wrong sum.", 1);
  });
}

bench::parked* all = nullptr;  // No parameter: it would be in every frame, and those are what is weighed.

task<> nap(std::chrono::nanoseconds how_long) {
  ++all->started;
  co_await thrum::async_sleep_for(how_long);
  ++all->ended;
}

task<> wait_for_word(thrum::channel<int>& words) {
  ++all->started;
  (void)co_await words.async_receive();
  ++all->ended;
}

// `start` starts one, `finish` ends all that wait.
template <class Start, class Finish>
void park(long n, bench::parked& crowd, Start start, Finish finish) {
  all = &crowd;
  for (long i = 0; i < n; ++i) start();
  crowd.weigh([](auto d) { thrum::this_fiber::sleep_for(d); });
  finish();
  while (crowd.ended < n) thrum::this_fiber::sleep_for(10ms);
}

void parked_memory(const bench::options& o) {
  const long n = o.scaled(1000000);
  const auto how_long = std::chrono::nanoseconds(long(o.seconds * 1e9));
  bench::parked crowd(n);
  park(
      n, crowd, [=] { thrum::go(nap(how_long)); }, [] {});
  crowd.report();
}

// In a process of its own, whose memory is fresh.
void parked_on_channel(const bench::options& o) {
  const long n = o.scaled(1000000);
  thrum::channel<int> words(0);
  bench::parked crowd(n);
  park(
      n, crowd, [&] { thrum::go(wait_for_word(words)); }, [&] { words.close(); });
  crowd.report_rss();
}

}  // namespace

int main(int argc, char** argv) {
  if (const auto o = bench::parse(argc, argv); o.bench == "echo" || o.bench == "c10k") bench::prepare_server();
  return bench::in_runtime(argc, argv, [](const bench::options& o) {
    static const std::map<std::string_view, void (*)(const bench::options&)> benches{
        {"yield", yield},
        {"spawn_join", spawn_join},
        {"chan_pingpong", chan_pingpong},
        {"skynet", skynet},
        {"parked_memory", parked_memory},
        {"parked_on_channel", parked_on_channel},
        {"echo", task_servers::echo},
        {"c10k", task_servers::c10k}};
    const auto b = benches.find(o.bench);
    if (b == benches.end()) std::exit(bench::exit_not_offered);
    b->second(o);
  });
}
