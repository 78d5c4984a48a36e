// The composition root: real clock, random source, policy and poller, and the life of a runtime.
#include <thrum/runtime.hpp>

#include <thrum/detail/deadline.hpp>
#include <thrum/inspector.hpp>

#include <cstdlib>
#include <string>
#include <string_view>

#include "base/assert.hpp"
#include "base/fork.hpp"
#include "base/rng.hpp"
#include "io/engine.hpp"
#include "os/clock.hpp"
#include "os/cpus.hpp"
#include "os/report.hpp"
#include "os/thread.hpp"
#include "runtime/guest.hpp"
#include "runtime/stall_setting.hpp"
#include "sched/diagnose.hpp"
#include "sched/scheduler.hpp"
#include "sched/thread_waiter.hpp"

namespace thrum {
namespace {

constexpr std::size_t survivors_shown = 20;

class monotonic_clock final : public sched::clock_source {
 public:
  std::int64_t now_ns() noexcept override { return os::now_ns(); }
};

class real_seams final : public sched::seams {
 public:
  explicit real_seams(io_engine_choice engine)
      : engine_(engine.kind), described_(std::string(to_string(engine.kind)) + ", " + engine.reason) {}
  sched::clock_source& clock() override { return clock_; }
  std::unique_ptr<sched::random_source> make_random(unsigned processor_index) override {
    const auto seed = static_cast<std::uint64_t>(os::now_ns()) * 2 + processor_index;
    return std::make_unique<sched::seeded_source>(base::rng(seed));
  }
  std::unique_ptr<sched::poller> make_poller() override { return io::make_poller(engine_); }
  std::string_view describe_poller() const noexcept override { return described_; }

 private:
  const io_engine_kind engine_;
  const std::string described_;
  monotonic_clock clock_;
};

sched::scheduler_options internal(const runtime_options& o, stall_log stalls) {
  return {.processors = o.workers ? o.workers : os::available_cpus(),
          .stack_size = o.stack_size,
          .fibers_max = o.fibers_max,
          .threads_max = o.threads_max,
          .stalls = std::move(stalls)};
}

}  // namespace

// A scheduler of its own, or a place in that of the simulated program that makes it.
struct runtime::parts {
  explicit parts(const runtime_options& o) : grace_ns(o.grace.count()) {
    auto* const w = sched::this_worker();
    if (w && w->home.host()) {
      engine.reason = "simulated";
      guest.emplace(w->home, o);
    } else {
      engine = io::choose_engine(o.io_engine, std::getenv("THRUM_IO_ENGINE"));
      auto stalls = choose_stall_log(o.stalls, std::getenv("THRUM_STALL_LOG"));
      own.emplace(internal(o, std::move(stalls)), std::make_unique<real_seams>(engine));
    }
  }

  sched::scheduler& scheduler() noexcept { return guest ? guest->host() : *own; }

  const std::int64_t grace_ns;
  io_engine_choice engine;
  std::optional<sched::scheduler> own;
  std::optional<detail::guest> guest;
};

unsigned available_processors() noexcept { return os::available_cpus(); }

runtime::runtime(const runtime_options& options) : parts_(std::make_unique<parts>(options)) {}

runtime::~runtime() {
  base::refuse_after_fork();
  if (parts_->guest) {
    parts_->guest->end();
    return;
  }
  auto& s = *parts_->own;
  const auto deadline = os::now_ns() + parts_->grace_ns;
  s.cancel_all();
  for (int i = 0; !s.quiescent(); ++i) {
    if (os::now_ns() > deadline) {
      os::report("thrum: fatal: fibers still run after the grace period:\n");
      sched::report_findings(s);
      sched::report_survivors(s, survivors_shown);
      std::abort();
    }
    if (i < 100)
      os::yield_thread();
    else
      os::sleep_thread_ns(200'000);
  }
}

sched::scheduler* runtime::core() const noexcept { return &parts_->scheduler(); }
detail::guest* runtime::guest() const noexcept { return parts_->guest ? &*parts_->guest : nullptr; }
unsigned runtime::workers() const noexcept { return parts_->scheduler().processor_count(); }
io_engine_choice runtime::io_engine() const noexcept { return parts_->engine; }
void runtime::dump() noexcept { sched::dump_all(parts_->scheduler()); }

runtime::statistics runtime::stats() const noexcept {
  if (parts_->guest) return {.fibers = parts_->guest->fibers()};
  auto& s = *parts_->own;
  std::size_t timers = 0;
  for (unsigned i = 0; i < s.processor_count(); ++i) timers += s.processor_at(i).timers.count();
  return {.fibers = s.live_count(),
          .threads = s.workers_total() + 1,
          .threads_max = s.threads_max(),
          .threads_stuck = s.find_stuck({}),
          .timers = timers,
          .handoffs = s.the_monitor().handoffs(),
          .stalls = s.the_monitor().stalls().count(),
          .stalls_dropped = s.the_monitor().stalls().dropped(),
          .warm_stacks = s.default_stacks().warm_count(),
          .unguarded_stacks = s.default_stacks().unguarded_count()};
}

std::vector<stall_record> runtime::take_stalls() {
  if (parts_->guest) return {};
  return parts_->own->the_monitor().stalls().take();
}

inspector::inspector(runtime& rt) : inspector(*rt.core()) {}

inert_thread::inert_thread() noexcept { sched::thread_waiter::declare_inert(true); }
inert_thread::~inert_thread() { sched::thread_waiter::declare_inert(false); }

}  // namespace thrum
