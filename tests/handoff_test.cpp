// The processor hand-off: fibers that block or spin stop nobody, and no two threads ever own one processor.
//
// One worker, a hundred fibers in system calls of 50 ms that no one announces, and detached hogs that keep
// calling the runtime without ever waiting; beside them timers, channels and sockets must make progress. The
// monitor is in a hurry, so that there are thousands of hand-offs a second. Builds of the library that lack
// the busy flag, the fence or the recheck (tests/mutants) must not survive this.
#include <array>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <span>
#include <string>

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include "stress_support.hpp"

namespace thrum::stress {
namespace {

constexpr int blocked_fibers = 100;
constexpr int hogs = 4;
constexpr int steps = 10;  // That each of the well-behaved has to make in a run.

struct field {
  std::atomic<bool> over{false};
  std::atomic<int> returned{0};  // Fibers back from their system calls.
  std::atomic<std::uint64_t> sent{0}, received{0};
  std::atomic<std::uint64_t> spawned{0}, ran{0};
  mutex lock;
  std::uint64_t guarded = 0;              // Counted under the lock,
  std::atomic<std::uint64_t> counted{0};  // and beside it.
  condition_variable changed;
  channel<std::uint64_t> work{64};
};

// Calls everything that does not wait.
void hog(field& f, std::uint64_t seed) {
  dice random(seed);
  while (!f.over.load(std::memory_order_relaxed)) {
    if (f.lock.try_lock()) {
      ++f.guarded;
      f.counted.fetch_add(1, std::memory_order_relaxed);
      f.lock.unlock();
    }
    f.changed.notify_one();
    if (f.work.try_send(std::uint64_t{1})) f.sent.fetch_add(1, std::memory_order_relaxed);
    if (random.one_in(64)) {
      f.spawned.fetch_add(1, std::memory_order_relaxed);
      go([&f] { f.ran.fetch_add(1, std::memory_order_release); });
    }
    // Nobody can drain what four hogs spawn: wait outside the runtime, as user code would compute.
    while (f.spawned.load(std::memory_order_relaxed) > f.ran.load(std::memory_order_relaxed) + 500 &&
           !f.over.load(std::memory_order_relaxed))
      spin(2us);
  }
}

void drain(field& f) {
  while (auto v = f.work.receive()) f.received.fetch_add(*v, std::memory_order_relaxed);
}

void wait_for_notification(field& f) {
  for (int i = 0; i < steps; ++i) {
    std::unique_lock hold(f.lock);
    f.changed.wait_for(hold, 1s);
  }
}

void tick() {
  for (int i = 0; i < steps; ++i) this_fiber::sleep_for(1ms);
}

void play(channel<int> to, channel<int> from, bool first) {
  for (int i = 0; i < steps; ++i) {
    if (first) to.send(i);
    EXPECT_EQ(from.receive(), i);
    if (!first) to.send(i);
  }
}

void echo(net::tcp_stream s) {
  std::array<std::byte, 64> buffer;
  while (const auto n = s.read_some(buffer)) s.write_all(std::span(buffer).first(n));
}

void call(net::tcp_stream s) {
  std::array<std::byte, 64> out, in;
  for (int i = 0; i < steps; ++i) {
    out.fill(static_cast<std::byte>(i));
    s.write_all(out);
    s.read_exactly(in);
    EXPECT_EQ(in, out);
  }
}

void start(wait_group& group, auto body) {
  group.add();
  go([&group, body = std::move(body)]() mutable {
    body();
    group.done();
  });
}

// One run; returns when all have made their steps and all system calls have returned.
void run_once(std::chrono::milliseconds call_time, std::uint64_t seed) {
  field f;
  wait_group calls, workload, hogging, draining;
  for (int i = 0; i < hogs; ++i) start(hogging, [&f, seed, i] { hog(f, seed * hogs + static_cast<unsigned>(i)); });
  start(draining, [&f] { drain(f); });
  for (int i = 0; i < blocked_fibers; ++i) {
    start(calls, [&f, call_time] {
      block(call_time);
      f.returned.fetch_add(1, std::memory_order_relaxed);
    });
  }
  channel<int> there(0), back(0);
  start(workload, [] { tick(); });
  start(workload, [&f] { wait_for_notification(f); });
  start(workload, [=] { play(there, back, true); });
  start(workload, [=] { play(back, there, false); });
  auto listener = net::tcp_listener::bind("127.0.0.1:0");
  start(workload,
        [port = listener.local_port()] { call(net::tcp_stream::connect("127.0.0.1:" + std::to_string(port))); });
  start(workload, [&listener] { echo(listener.accept()); });
  workload.wait();
  calls.wait();
  f.over.store(true);
  hogging.wait();
  f.work.close();
  draining.wait();
  while (f.ran.load() < f.spawned.load()) this_fiber::yield();

  EXPECT_EQ(f.returned.load(), blocked_fibers);
  EXPECT_EQ(f.received.load(), f.sent.load());
  EXPECT_EQ(f.guarded, f.counted.load());
}

void run_rounds(unsigned workers, const sched::monitor_pace& pace, int rounds, std::chrono::milliseconds call_time) {
  bare_runtime rt({.processors = workers, .pace = pace});
  for (int round = 0; round < rounds && !::testing::Test::HasFailure(); ++round)
    rt.run([=] { run_once(call_time, static_cast<std::uint64_t>(round) + 1); });
  std::printf("%d rounds, %llu hand-offs, %zu threads\n", rounds, static_cast<unsigned long long>(rt.handoffs()),
              rt.scheduler().workers_total());
  EXPECT_GE(rt.handoffs(), static_cast<std::uint64_t>(rounds));
}

// ---------------------------------------------------------------------------------------------------------------
// The narrow race: a fiber enters the runtime at the very moment at which the monitor decides. The runtime's
// own assertions (worker::owns_its_processor) tell when both think that they have won.

// Stores that miss the caches fill the processor's store buffer: the busy flag that the next call sets stays
// invisible to others for a microsecond, unless the monitor's barrier drains it.
void fill_store_buffer(std::vector<std::atomic<std::uint64_t>>& memory, dice& random, unsigned count) {
  for (unsigned i = 0; i < count; ++i)
    memory[random.below(static_cast<std::uint32_t>(memory.size()))].store(i, std::memory_order_relaxed);
}

// The race needs the monitor and the fiber to run at the same time: they get a core each, where there are
// two.
class separate_cores {
 public:
  separate_cores() {
    cpu_set_t allowed;
    if (::sched_getaffinity(0, sizeof allowed, &allowed) != 0 || CPU_COUNT(&allowed) < 2) return;
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
      if (CPU_ISSET(cpu, &allowed)) (first_ < 0 ? first_ : last_) = cpu;
  }
  void pin_monitor() const {
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) {
      std::string name;
      std::getline(std::ifstream(entry.path() / "comm"), name);
      if (name == "thrum-monitor") pin(std::stoi(entry.path().filename()), last_);
    }
  }
  // Threads come and go with hand-offs, and inherit the monitor's core: a fiber does this again and again.
  void pin_this_thread() const { pin(0, first_); }

 private:
  void pin(pid_t tid, int cpu) const {
    if (last_ < 0) return;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    ::sched_setaffinity(tid, sizeof one, &one);
  }
  int first_ = -1, last_ = -1;
};

void race_with_monitor(const separate_cores& cores, std::vector<std::atomic<std::uint64_t>>& memory, std::uint64_t seed,
                       std::chrono::steady_clock::time_point end) {
  dice random(seed);
  channel<int> c(4);
  mutex m;
  while (std::chrono::steady_clock::now() < end) {
    if (random.one_in(8)) cores.pin_this_thread();
    // From a fraction of a microsecond to some dozens: somewhere there the monitor makes up its mind.
    fill_store_buffer(memory, random, random.below(16u << random.below(9)));
    switch (random.below(8)) {
      case 0:
        go([] {});
        break;
      case 1:
        this_fiber::yield();
        break;
      case 2:
        c.try_send(1), c.try_receive();
        break;
      case 3:
        c.receive_for(std::chrono::microseconds(random.below(30)));
        break;
      default:
        this_fiber::sleep_for(std::chrono::microseconds(random.below(20)));
        break;
    }
  }
}

class handoff_race : public ::testing::TestWithParam<unsigned> {};
INSTANTIATE_TEST_SUITE_P(workers, handoff_race, ::testing::Values(1u, 2u, 4u, 16u),
                         [](const auto& tested) { return std::to_string(tested.param); });

TEST_P(handoff_race, no_processor_ever_has_two_owners) {
  std::vector<std::atomic<std::uint64_t>> memory(std::size_t{4} << 20);
  bare_runtime rt({.processors = GetParam(), .pace = {0, 0, 0, 0, 0}});
  const separate_cores cores;
  cores.pin_monitor();
  rt.run([&] {
    const auto end = std::chrono::steady_clock::now() + 4 * duration();
    wait_group all;
    for (unsigned i = 0; i < GetParam(); ++i) start(all, [&, i] { race_with_monitor(cores, memory, i + 1, end); });
    // So that work always waits for the processor.
    while (!all.wait_for(1h)) {
    }
  });
  std::printf("%llu hand-offs\n", static_cast<unsigned long long>(rt.handoffs()));
}

// ---------------------------------------------------------------------------------------------------------------

constexpr int rounds_in_batch = slow_build ? 5 : 100;

// With the thresholds that users get.
TEST(handoff, everybody_progresses_beside_blocked_fibers_and_hogs) { run_rounds(1, {}, slow_build ? 2 : 5, 50ms); }

// So many looks find that all is well that the monitor looks more rarely.
void be_calm() {
  const auto end = std::chrono::steady_clock::now() + 150ms;
  fiber other = spawn([=] {
    while (std::chrono::steady_clock::now() < end) this_fiber::yield();
  });
  other.join();
}

TEST(handoff, who_computes_after_a_long_calm_is_noticed) {
  bare_runtime rt({.processors = 1});
  rt.run([] {
    be_calm();
    std::atomic<bool> over{false};
    fiber other = spawn([&] { over = true; });
    while (!over) {
    }
    other.join();
  });
  EXPECT_GE(rt.handoffs(), 1u);
}

TEST(handoff, who_blocks_after_a_long_calm_is_noticed) {
  bare_runtime rt({.processors = 1});
  rt.run([] {
    be_calm();
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    fiber other = spawn([&] { EXPECT_EQ(::write(ends[1], "x", 1), 1); });
    char c = 0;
    EXPECT_EQ(::read(ends[0], &c, 1), 1);
    other.join();
    for (const int fd : ends) ::close(fd);
  });
  EXPECT_GE(rt.handoffs(), 1u);
}

bool has_processor() {
  const sched::runtime_section inside;  // Finds out whether it has been taken.
  return inside.w->p != nullptr;
}

// In a runtime of one worker, where `blocker` gets what blocks until its processor has been taken.
template <class Blocker>
void who_blocks(const sched::scheduler_options& options, Blocker blocker) {
  bare_runtime rt(options);
  rt.run([&] {
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    std::atomic<bool> over{false};
    fiber other = spawn([&] {  // Can write only with the processor of who reads.
      while (!over) {
        EXPECT_EQ(::write(ends[1], "x", 1), 1);
        this_fiber::sleep_for(1ms);
      }
    });
    blocker([&] {
      for (char c; ::read(ends[0], &c, 1) == 1 && has_processor();) {
      }
    });
    over = true;
    other.join();
    for (const int fd : ends) ::close(fd);
  });
}

// The next time it gives its processor away beforehand; and as it does not block, not the time after that.
TEST(handoff, who_has_blocked_goes_on_without_a_processor) {
  who_blocks({.processors = 1}, [](auto block) {
    block();
    const auto end = std::chrono::steady_clock::now() + 60s;
    for (const bool wanted : {false, true}) {
      do this_fiber::yield();
      while (has_processor() != wanted && std::chrono::steady_clock::now() < end);
      EXPECT_EQ(has_processor(), wanted);
    }
  });
}

TEST(handoff, so_does_a_task) {
  who_blocks({.processors = 1}, [](auto block) {
    event done;
    go([&]() -> task<> {
      block();
      const auto end = std::chrono::steady_clock::now() + 60s;
      for (const bool wanted : {false, true}) {
        do co_await async_yield();
        while (has_processor() != wanted && std::chrono::steady_clock::now() < end);
        EXPECT_EQ(has_processor(), wanted);
      }
      done.set();
    });
    done.wait();
  });
}

TEST(handoff, where_stalls_are_logged_it_keeps_its_processor) {
  who_blocks({.processors = 1, .stalls = {.limit = 1h}}, [](auto block) {
    block();
    for (int i = 0; i < 1000; ++i) {
      this_fiber::yield();
      EXPECT_TRUE(has_processor());
    }
  });
}

class handoff_batch : public ::testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(thousand_runs, handoff_batch, ::testing::Range(0, 10));

TEST_P(handoff_batch, everybody_progresses_while_processors_change_hands_all_the_time) {
  run_rounds(1, hurried, rounds_in_batch, 50ms);
}

}  // namespace
}  // namespace thrum::stress
