// Opening, measuring and closing the notes; and what they say in words.
#include "sched/stall_watch.hpp"

#include <algorithm>
#include <cstdio>
#include <mutex>
#include <new>
#include <string_view>
#include <utility>

#include "context/unwind.hpp"
#include "os/clock.hpp"
#include "os/report.hpp"
#include "os/system_calls.hpp"
#include "os/thread.hpp"
#include "sched/scheduler.hpp"

namespace thrum::sched {

static_assert(stall_record::in_none == os::no_system_call && stall_record::in_a_fault == os::outside_of_calls);

struct stall_note {
  worker& who;
  processor& from;
  const std::uint64_t tick;
  const std::int64_t began_ns;
  stall_record record = {};

  std::int64_t seen_ns = 0;  // Measured up to here.
  std::int64_t seen_cpu_ns = 0;
  bool asleep = false;  // As it was seen last.
  bool lost = false;    // The processor.
  bool told = false;
  bool asked = false;                          // For its stack,
  std::chrono::nanoseconds patience_until{0};  // which is waited for until it has computed so much.

  std::atomic<std::int64_t> ended_ns{0};  // Once the worker has ended it; published by this,
  std::int64_t ended_cpu_ns = 0;          // this.
  stall_note* next = nullptr;
};

namespace {

// In CPU time, since a thread that is given no core takes no signal; it takes one as soon as it goes on.
constexpr std::chrono::nanoseconds patience_for_stack = std::chrono::milliseconds(20);

void identify(stall_record& r, const activity& a, const worker& w) noexcept {
  r.is_task = !a.is_fiber();
  r.id = a.id.load(std::memory_order_relaxed);
  r.where = a.where.load(std::memory_order_relaxed);
  if (a.is_fiber()) r.name = static_cast<const fiber_control&>(a).name.get();
  r.thread = w.tid.load(std::memory_order_relaxed);
}

}  // namespace

stall_watch::stall_watch(const stall_log& how) : limit_ns_(how.limit.count()), sink_(how.sink) {
  if (!on()) return;
  kept_ = std::make_unique<stall_record[]>(kept_max);
  if (how.stacks) sampler_ = std::make_unique<stack_sampler>();
}

stall_watch::~stall_watch() {
  while (open_) delete std::exchange(open_, open_->next);
}

void stall_watch::open(processor& p, worker& w, std::int64_t now) noexcept {
  if (w.stalled.load(std::memory_order_relaxed)) return;
  const activity* a = w.running_there();
  if (!a) return;
  auto* n = new (std::nothrow) stall_note{.who = w, .from = p, .tick = p.seen_tick, .began_ns = p.seen_since};
  if (!n) return;
  identify(n->record, *a, w);
  n->record.began = std::chrono::steady_clock::time_point(std::chrono::nanoseconds(n->began_ns));
  n->seen_ns = now;
  n->seen_cpu_ns = os::thread_cpu_ns(n->record.thread);
  w.stalled.exchange(n, std::memory_order_acq_rel);  // Pairs with end(): see the race in the header.
  const bool still_here = p.owner.load(std::memory_order_acquire) == &w &&
                          p.tick.load(std::memory_order_relaxed) == n->tick && w.running_there() == a;
  stall_note* expected = n;
  if (!still_here && w.stalled.compare_exchange_strong(expected, nullptr, std::memory_order_acq_rel)) {
    delete n;
    return;
  }
  std::lock_guard held(lock_);
  n->next = std::exchange(open_, n);
  open_count_.fetch_add(1, std::memory_order_relaxed);
}

void stall_watch::end(worker& w) noexcept {
  auto* n = w.stalled.exchange(nullptr, std::memory_order_acq_rel);  // Pairs with open() and look_at().
  if (!n) return;
  n->ended_cpu_ns = os::thread_cpu_ns(n->record.thread);
  n->ended_ns.store(os::now_ns(), std::memory_order_release);  // Pairs with look_at(): the note may vanish now.
}

void stall_watch::look(scheduler& home, std::int64_t now) noexcept {
  for (stall_note** at = &open_; *at;) {
    stall_note& n = **at;
    if (look_at(home, n, now) == progress::lasts) {
      judge(n);
      at = &n.next;
    } else {
      {
        std::lock_guard held(lock_);
        *at = n.next;
      }
      delete &n;
      open_count_.fetch_sub(1, std::memory_order_relaxed);
    }
  }
}

stall_watch::progress stall_watch::look_at(scheduler& home, stall_note& n, std::int64_t now) noexcept {
  if (const auto ended = n.ended_ns.load(std::memory_order_acquire)) {  // Pairs with end().
    const auto used = std::max<std::int64_t>(n.ended_cpu_ns - n.seen_cpu_ns, 0);
    const auto unused = n.asleep ? std::max<std::int64_t>(ended - n.seen_ns - used, 0) : 0;
    {
      std::lock_guard held(lock_);
      n.record.handed_over = true;
      n.record.computed += std::chrono::nanoseconds(used);
      n.record.blocked += std::chrono::nanoseconds(unused);
    }
    finish(n, ended);
    return progress::over;
  }
  if (!n.lost && n.from.owner.load(std::memory_order_acquire) != &n.who) n.lost = true;
  if (!n.lost && (n.from.tick.load(std::memory_order_relaxed) != n.tick || home.idle().contains(n.from.index))) {
    stall_note* expected = &n;
    if (n.who.stalled.compare_exchange_strong(expected, nullptr, std::memory_order_acq_rel)) {
      finish(n, now);
      return progress::over;
    }
    return progress::lasts;  // The worker is just ending it.
  }
  measure(n, now);
  return progress::lasts;
}

void stall_watch::measure(stall_note& n, std::int64_t now) noexcept {
  const auto cpu = os::thread_cpu_ns(n.record.thread);
  const auto used = cpu - n.seen_cpu_ns;
  const auto unused = now - n.seen_ns - used;
  const char state = unused > used ? os::thread_state(n.record.thread) : 'R';
  n.asleep = state != 'R' && state != '?';
  const long call = n.asleep ? os::system_call_of(n.record.thread) : os::no_system_call;
  n.seen_ns = now;
  n.seen_cpu_ns = cpu;
  std::lock_guard held(lock_);
  n.record.handed_over = n.lost;
  n.record.lasted = std::chrono::nanoseconds(now - n.began_ns);
  n.record.computed += std::chrono::nanoseconds(std::max<std::int64_t>(used, 0));
  if (!n.asleep) return;
  n.record.blocked += std::chrono::nanoseconds(std::max<std::int64_t>(unused, 0));
  if (call != os::no_system_call) n.record.system_call = call;
}

void stall_watch::judge(stall_note& n) noexcept {
  if (n.told || !reaches_limit(n) || !has_stack(n)) return;
  n.told = true;
  tell(n.record);
}

// The first time it does, it gets its number.
bool stall_watch::reaches_limit(stall_note& n) noexcept {
  if (n.record.number != 0) return true;
  if ((n.record.computed + n.record.blocked).count() < limit_ns_) return false;
  std::lock_guard held(lock_);
  n.record.number = count_.fetch_add(1, std::memory_order_relaxed) + 1;
  return true;
}

// Or will get none.
bool stall_watch::has_stack(stall_note& n) noexcept {
  if (!sampler_) return true;
  if (n.patience_until.count() == 0) n.patience_until = n.record.computed + patience_for_stack;
  context::trace t;
  const auto got = n.asked ? sampler_->look(t) : stack_sampler::answer::none_yet;
  if (got == stack_sampler::answer::taken) {
    n.asked = false;
    std::lock_guard held(lock_);
    n.record.frame_count = std::min(static_cast<std::size_t>(t.count), stall_record::frames_max);
    std::copy_n(t.frames, n.record.frame_count, n.record.frames.begin());
    return true;
  }
  if (got == stack_sampler::answer::refused) n.asked = false;
  if (n.asleep || n.record.computed >= n.patience_until) {  // No signal to one that is asleep.
    if (std::exchange(n.asked, false)) sampler_->withdraw();
    return true;
  }
  if (!n.asked) n.asked = sampler_->ask(n.who, n.record.id);
  return false;
}

void stall_watch::finish(stall_note& n, std::int64_t ended) noexcept {
  if (n.asked) sampler_->withdraw();
  if (!reaches_limit(n)) return;
  {
    std::lock_guard held(lock_);
    n.record.lasted = std::chrono::nanoseconds(ended - n.began_ns);
    n.record.ended = true;
    keep(n.record);
  }
  tell(n.record);
}

// Under the lock.
void stall_watch::keep(const stall_record& r) noexcept {
  kept_[(first_kept_ + kept_count_) % kept_max] = r;
  if (kept_count_ < kept_max) {
    ++kept_count_;
  } else {
    first_kept_ = (first_kept_ + 1) % kept_max;
    dropped_.fetch_add(1, std::memory_order_relaxed);
  }
}

std::vector<stall_record> stall_watch::collect(bool ended) {
  std::vector<stall_record> all;
  if (!on()) return all;
  for (std::size_t room = kept_max + 64;; room *= 2) {
    all.reserve(room);
    std::lock_guard held(lock_);
    std::size_t lasting = 0;
    for (const auto* n = open_; n; n = n->next) lasting += n->record.number != 0 && !n->record.ended;
    if (kept_count_ + lasting > room) continue;
    for (; ended && kept_count_ > 0; --kept_count_, first_kept_ = (first_kept_ + 1) % kept_max)
      all.push_back(kept_[first_kept_]);
    for (const auto* n = open_; n; n = n->next)
      if (n->record.number != 0 && !n->record.ended) all.push_back(n->record);
    return all;
  }
}

// ---------------------------------------------------------------------------------------------------------------
// In words.

namespace {

void report_lines(const std::string& text, const char* before_first) noexcept {
  for (std::size_t from = 0; from < text.size();) {
    const auto to = std::min(text.find('\n', from), text.size());
    os::report("%s%.*s\n", from == 0 ? before_first : "", static_cast<int>(to - from), text.data() + from);
    from = to + 1;
  }
}

}  // namespace

void stall_watch::tell(const stall_record& r) noexcept {
  if (sink_) return sink_(r);
  try {
    report_lines(to_string(r), "thrum: ");
  } catch (const std::bad_alloc&) {
    os::report("thrum: stall %llu\n", static_cast<unsigned long long>(r.number));
  }
}

void stall_watch::report_open() noexcept {
  try {
    for (const auto& r : collect(false)) report_lines(to_string(r), "");
  } catch (const std::bad_alloc&) {  // They are in the list of fibers, too.
  }
}

}  // namespace thrum::sched

namespace thrum {
namespace {

std::string milliseconds(std::chrono::nanoseconds d) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f ms", static_cast<double>(d.count()) / 1e6);
  return text;
}

std::string words_for_who(const stall_record& r) {
  std::string s = (r.is_task ? "task " : "fiber ") + std::to_string(r.id);
  if (r.name[0]) s += " \"" + std::string(r.name.data()) + "\"";
  return s + " (spawned at " + r.where.file_name() + ":" + std::to_string(r.where.line()) + " in " +
         r.where.function_name() + ")";
}

std::string words_for_place(const stall_record& r) {
  if (r.system_call == stall_record::in_none) return "in the kernel";
  if (r.system_call == stall_record::in_a_fault) return "in a page fault";
  return "in " + system_call_name(r.system_call);
}

std::string words_for_frames(const stall_record& r) {
  std::string s;
  for (std::size_t i = 0; i < r.frame_count; ++i) {
    char name[256] = "?";
    context::name_of(r.frames[i], name);
    s += "    #" + std::to_string(i) + " " + name + "\n";
  }
  return s;
}

}  // namespace

std::string system_call_name(long number) {
  const char* name = os::name_of_system_call(number);
  return name ? name : "system call " + std::to_string(number);
}

std::string to_string(const stall_record& r) {
  std::string s = "stall " + std::to_string(r.number) + ": " + words_for_who(r);
  if (!r.ended) {
    const bool asleep = r.blocked > r.computed;
    s += asleep ? " has been blocked " + words_for_place(r) : " has computed";
    s += " for " + milliseconds(asleep ? r.blocked : r.computed) + " on thread " + std::to_string(r.thread) + "\n";
    return s + words_for_frames(r);
  }
  s += " went on after " + milliseconds(r.lasted) + " on thread " + std::to_string(r.thread) + ": " +
       milliseconds(r.computed) + " computing, " + milliseconds(r.blocked) + " blocked";
  if (r.blocked.count() > 0) s += " " + words_for_place(r);
  return s + (r.handed_over ? ", its processor handed over\n" : "\n");
}

}  // namespace thrum
