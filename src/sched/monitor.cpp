// The monitor's loop and its judgement of stuck workers.
#include "sched/monitor.hpp"

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "os/clock.hpp"
#include "os/futex.hpp"
#include "os/report.hpp"
#include "os/thread.hpp"
#include "sched/diagnose.hpp"
#include "sched/scheduler.hpp"

namespace thrum::sched {
namespace {

// The shortest that the kernel gives: beside threads that compute it gets a core as soon as it wakes up.
constexpr std::int64_t monitor_slice_ns = 100'000;
constexpr unsigned idle_looks_max = 10;  // Then the monitor sleeps until there is activity.
constexpr unsigned looks_before_calm = 64;
constexpr std::int64_t recheck_ns = 200'000'000;
constexpr std::int64_t recheck_ns_max = 10'000'000'000;
constexpr std::size_t warm_stacks = 1024;

}  // namespace

void monitor::start() {
  const int error = os::start_thread(thread_, &thread_main, this);
  if (error) throw std::system_error(error, std::generic_category(), "thrum: cannot create the monitor thread");
  started_ = true;
}

void monitor::stop() noexcept {
  if (!started_) return;
  stop_.store(true, std::memory_order_release);
  wake();
  os::join_thread(thread_);
  started_ = false;
}

void monitor::wake() noexcept {
  signal_.fetch_add(1, std::memory_order_seq_cst);
  os::futex_wake(signal_, 1);
}

void monitor::request_dump() noexcept {
  dump_.store(true, std::memory_order_release);
  wake();
}

void* monitor::thread_main(void* self) {
  os::name_thread("thrum-monitor");
  os::want_exact_timers();
  os::set_time_slice(os::thread_id(), monitor_slice_ns);
  static_cast<monitor*>(self)->run();
  return nullptr;
}

void monitor::run() noexcept {
  home_.ensure_spare();
  unsigned idle_looks = 0;
  while (!stop_.load(std::memory_order_acquire)) {
    if (dump_.exchange(false)) dump_all(home_);
    if (stalls_.any_open()) stalls_.look(home_, os::now_ns());
    if (look()) {
      idle_looks = 0;
      pause(calm_looks_ < looks_before_calm ? pace_.look_ns : pace_.look_calm_ns);
    } else if (++idle_looks < idle_looks_max) {
      pause(pace_.look_idle_ns);
    } else {
      look_when_idle();
      sleep_until_activity();
      idle_looks = 0;
    }
  }
}

bool monitor::look() noexcept {
  const auto now = os::now_ns();
  bool calm = !stalls_.on();  // Their beginnings are to be told exactly.
  bool active = !home_.all_idle();
  for (unsigned i = 0; i < home_.processor_count(); ++i) {
    processor& p = home_.processor_at(i);
    const bool moved = has_moved(p, now);
    active |= moved;
    if (home_.idle().contains(i)) {
      p.seen_since = now;
    } else if (moved) {
      calm &= is_served(p, now);
    } else {
      look_at_stuck(p, *p.seen_owner, now);
      calm = false;
    }
  }
  calm_looks_ = calm ? calm_looks_ + 1 : 0;
  return active;
}

// Since the last look it has dispatched, or changed its owner.
bool monitor::has_moved(processor& p, std::int64_t now) noexcept {
  worker* w = p.owner.load(std::memory_order_acquire);
  const auto tick = p.tick.load(std::memory_order_relaxed);
  if (tick == p.seen_tick && w == p.seen_owner) return false;
  p.seen_tick = tick;
  p.seen_owner = w;
  p.seen_since = now;
  p.seen_cpu_ns = -1;
  return true;
}

// Unless timers and poller have been neglected for long.
bool monitor::is_served(processor& p, std::int64_t now) noexcept {
  const auto unserved_for = now - p.served_at.load(std::memory_order_relaxed);
  if (unserved_for > processor::neglected_after_ns) p.request_look();
  return unserved_for < 2 * processor::neglected_after_ns;
}

void monitor::look_at_stuck(processor& p, worker& w, std::int64_t now) noexcept {
  const auto stuck_for = now - p.seen_since;
  if (stalls_.on() && stuck_for >= 2 * pace_.look_ns) stalls_.open(p, w, now);
  if (!work_waits(p)) return;
  if (p.shared) {
    if (p.lifo.load(std::memory_order_relaxed))
      w.expose_lifo(p);  // Nobody could steal who is there.
    else
      home_.wake_idle();  // Its queue, timers and poller can be served by whoever is idle.
  }
  const auto tid = w.tid.load(std::memory_order_relaxed);
  if (tid == 0 || w.in_runtime()) return;
  if (p.seen_cpu_ns < 0) {
    p.seen_cpu_ns = os::thread_cpu_ns(tid);
    return w.ask_to_give_way(p);  // It may be one that looks: this_fiber::maybe_yield().
  }
  const auto limit = limit_for(p, w, now);
  if (stuck_for >= limit) relieve(p, w);
}

// How long the worker may stay as it is now; see the table in the header.
std::int64_t monitor::limit_for(processor& p, worker& w, std::int64_t now) noexcept {
  const auto tid = w.tid.load(std::memory_order_relaxed);
  const auto cpu = os::thread_cpu_ns(tid);
  const auto used = cpu - p.seen_cpu_ns;
  p.seen_cpu_ns = cpu;
  w.sits_in_kernel.store(false, std::memory_order_relaxed);
  if (used > pace_.look_ns / 20) {
    const bool herd = now - computing_seen_ < pace_.herd_ns;
    const auto limit = herd || w.hogged_before() ? pace_.computing_again_ns : pace_.computing_ns;
    if (now - p.seen_since >= limit) computing_seen_ = now;
    return limit;
  }
  const char state = os::thread_state(tid);
  if (state == 'R' || state == '?') return never;
  w.sits_in_kernel.store(true, std::memory_order_relaxed);
  return pace_.blocked_ns;
}

bool monitor::work_waits(processor& p) const noexcept {
  return p.has_runnable() || home_.global_size() > 0 || p.timers.count() > 0 || p.poll->watched() > 0;
}

void monitor::relieve(processor& p, worker& w) noexcept {
  if (!home_.ensure_spare()) return report_cap();
  cap_reported_ = false;
  worker* spare = home_.take_spare();
  if (!spare) return;
  w.stuck_since_ns.store(p.seen_since, std::memory_order_relaxed);
  if (w.try_retake(p)) {
    os::set_time_slice(w.tid.load(std::memory_order_relaxed), 0);
    home_.hand_over(p, *spare);
    warn_of_cap();
    home_.ensure_spare();
  } else {
    w.stuck_since_ns.store(0, std::memory_order_relaxed);
    w.sits_in_kernel.store(false, std::memory_order_relaxed);
    home_.add_spare(*spare);
  }
}

// While there are still threads for those who want to see to it.
void monitor::warn_of_cap() noexcept {
  const auto in_use = home_.workers_total() - home_.spares();
  const std::size_t most = home_.threads_max();
  if (in_use * 5 < most * 3) crowd_reported_ = false;
  if (in_use * 5 < most * 4 || std::exchange(crowd_reported_, true)) return;
  os::report(
      "thrum: warning: %zu of at most %zu threads are in use; at the cap no further processor can be handed over\n",
      in_use, most);
  report_stuck_threads(home_);
}

void monitor::report_cap() noexcept {
  if (std::exchange(cap_reported_, true)) return;
  os::report(
      "thrum: warning: all %zu threads are in use by fibers that do not yield; no further processor can be "
      "handed over\n",
      home_.workers_total());
  report_stuck_threads(home_);
}

// Everything has been asleep for a while: give memory back, and see whether it can ever wake up.
void monitor::look_when_idle() noexcept {
  try {
    home_.trim_stacks(warm_stacks);
  } catch (...) {  // No memory for the lists: another time.
  }
  watch_for_deadlock_ = check_deadlock(home_);
}

void monitor::pause(std::int64_t ns) noexcept {
  if (ns == 0) return;
  const auto seen = signal_.load(std::memory_order_seq_cst);
  if (stop_.load(std::memory_order_acquire) || dump_.load(std::memory_order_acquire)) return;
  os::futex_wait(signal_, seen, os::now_ns() + ns);
}

// Until signal_ changes. A program that is deadlocked but for a busy thread outside is looked at again, ever more
// rarely: that thread may end, or wait for a fiber.
void monitor::sleep(std::uint32_t seen) noexcept {
  auto patience = recheck_ns;
  while (signal_.load(std::memory_order_seq_cst) == seen) {
    if (os::futex_wait(signal_, seen, watch_for_deadlock_ ? os::now_ns() + patience : os::no_deadline)) continue;
    watch_for_deadlock_ = check_deadlock(home_);
    patience = std::min(2 * patience, recheck_ns_max);
  }
}

// The race with note_activity() is that of sleepers and wakers in idle_set.hpp: announce, fence, look, sleep.
void monitor::sleep_until_activity() noexcept {
  const auto seen = signal_.load(std::memory_order_seq_cst);
  asleep_.store(true, std::memory_order_seq_cst);
  const bool busy = !home_.all_idle() || stalls_.any_open() || stop_.load() || dump_.load();
  if (!busy) sleep(seen);
  asleep_.store(false, std::memory_order_seq_cst);
}

}  // namespace thrum::sched
