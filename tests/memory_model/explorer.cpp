// The search, and the threads of an execution.
#include "memory_model/explorer.hpp"

#include <cstdlib>

#include "memory_model/engine.hpp"

namespace thrum::memory_model {
namespace {

constexpr std::size_t stack_size = 128 * 1024;
constexpr int steps_max = 3000;  // Of an execution; one that makes more does not end.

}  // namespace

engine the_engine;

// ---------------------------------------------------------------------------------------------------------------
// The search.

outcome engine::explore(const limits& l, const std::function<void(program&)>& set_up) {
  limits_ = l;
  outcome_ = {};
  mutations_.aim(l.change);
  chooser_.begin(l);
  do {
    execute(set_up);
    ++outcome_.executions;
  } while (outcome_.passed && chooser_.advance() && outcome_.executions < l.executions);
  outcome_.exhausted = outcome_.passed && chooser_.exhausted();
  return std::exchange(outcome_, {});
}

void engine::execute(const std::function<void(program&)>& set_up) {
  memory_.clear();
  late_.start(limits_.seed == 0 ? limits_.late_reads : 0);
  chooser_.start();
  events_.clear();
  failure_.clear();
  count_ = 1;
  current_ = 0;
  steps_ = 0;
  preemptions_left_ = limits_.preemptions;
  stale_left_ = limits_.stale_reads;
  spurious_left_ = limits_.spurious_failures;
  last_ = nullptr;
  started_ = discarded_ = false;
  running_ = true;
  // All of it on a stack that can be left for ever.
  threads_[0].body = [&] {
    program p;
    set_up(p);
    for (std::size_t i = 1; i < count_; ++i) memory_.begin(i, 0);
    started_ = true;
    leave();
    if (last_) last_();
  };
  add("main", nullptr);
  context::switch_to(explorer_, threads_[0].ctx);
  running_ = false;
  // What is left of an execution that did not end is in no state to be destroyed.
  for (auto& t : threads_) {
    if (!outcome_.passed || discarded_) static_cast<void>(new std::function<void()>(t.body));
    t.body = nullptr;
  }
}

// The first one has no body yet. Its number.
std::size_t engine::add(const char* name, std::function<void()> body) {
  const std::size_t i = body ? count_++ : 0;
  if (i == threads_max) std::abort();  // Raise it.
  auto& t = threads_[i];
  t.name = name;
  t.local = nullptr;
  if (body) t.body = std::move(body);
  t.is = condition::ready;
  if (!t.stack) t.stack = std::make_unique<char[]>(stack_size);
  const auto top = reinterpret_cast<std::uintptr_t>(t.stack.get() + stack_size) & ~std::uintptr_t{63};
  context::make(t.ctx, reinterpret_cast<void*>(top), &thread_main, &t);
  if (started_) memory_.begin(i, current_);
  return i;
}

void engine::thread_main(void* self) {
  auto& t = *static_cast<model_thread*>(self);
  t.body();
  if (&t != &the_engine.threads_[0]) the_engine.end_thread();
  the_engine.leave_execution();
}

void engine::leave_execution() {
  context::switch_to(threads_[current_].ctx, explorer_);  // For ever.
  __builtin_unreachable();
}

// While a guess is open nothing is certain: the thread goes no further, and the others may make it come true.
void engine::fail(const std::string& why) {
  if (failure_.empty()) failure_ = why;
  if (late_.any_open()) {
    threads_[current_].is = condition::failed;
    leave();
  }
  outcome_.passed = false;
  outcome_.report = story(failure_);
  outcome_.seed = chooser_.seed();
  leave_execution();
}

void engine::discard() {
  discarded_ = true;
  leave_execution();
}

// ---------------------------------------------------------------------------------------------------------------
// Threads.

void engine::switch_to(std::size_t next) {
  if (next == current_) return;
  late_.runs_no_longer_alone();
  auto& from = threads_[std::exchange(current_, next)];
  context::switch_to(from.ctx, threads_[next].ctx);
}

void engine::run(std::size_t next) {
  auto& t = threads_[next];
  if (t.is == condition::asleep) t.timed_out = true;
  t.is = condition::ready;
  switch_to(next);
}

// Before each operation: others may come first.
void engine::step() {
  if (++steps_ > steps_max) fail("it does not end");
  if (current_ == 0 || (preemptions_left_ == 0 && !chooser_.draws())) return;
  std::vector<std::size_t> candidates{current_};
  for (std::size_t i = 1; i < count_; ++i)
    if (i != current_ && threads_[i].can_run()) candidates.push_back(i);
  const auto next = chooser_.who_goes_on(candidates, steps_);
  if (next == current_) return;
  --preemptions_left_;
  run(next);
}

// The current thread cannot go on, or must not: somebody else runs, or its own time is up; the first thread when all
// have ended. Those who have yielded come last, in turn, so that no two of them keep the others waiting for ever.
void engine::leave() {
  std::vector<std::size_t> candidates;
  std::size_t longest = 0;
  for (std::size_t i = 1; i < count_; ++i) {
    const auto& t = threads_[i];
    if (t.is == condition::yielded) {
      if (longest == 0 || t.yielded_at < threads_[longest].yielded_at) longest = i;
    } else if (t.can_run()) {
      candidates.push_back(i);
    }
  }
  if (candidates.empty() && longest != 0) candidates.push_back(longest);
  if (!candidates.empty()) return run(chooser_.who_is_next(candidates));
  if (late_.any_open()) discard();
  for (std::size_t i = 1; i < count_; ++i)
    if (threads_[i].is != condition::ended) fail("nobody can go on: a wake-up is lost, or a deadlock");
  switch_to(0);
}

void engine::end_thread() {
  threads_[current_].is = condition::ended;
  memory_.end(current_, 0);
  for (std::size_t i = 1; i < count_; ++i)
    if (threads_[i].is == condition::joins && threads_[i].waits_for_end == current_) threads_[i].is = condition::ready;
  leave();
}

void engine::yield() {
  if (++steps_ > steps_max) fail("it does not end");
  threads_[current_].is = condition::yielded;
  threads_[current_].yielded_at = steps_;
  leave();
  threads_[current_].is = condition::ready;
  memory_.freshen(current_);
}

void engine::join(std::size_t thread) {
  step();
  auto& self = threads_[current_];
  if (threads_[thread].is != condition::ended) {
    self.is = condition::joins;
    self.waits_for_end = thread;
    leave();
  }
  memory_.end(thread, current_);
  finish_step();
}

// ---------------------------------------------------------------------------------------------------------------
// What programs, atomics and stand-ins call.

outcome explore(const limits& l, const std::function<void(program&)>& set_up) { return the_engine.explore(l, set_up); }
void program::thread(const char* name, std::function<void()> body) { the_engine.add(name, std::move(body)); }
void program::finally(std::function<void()> body) { the_engine.set_last(std::move(body)); }
std::size_t start_thread(const char* name, std::function<void()> body) { return the_engine.add(name, std::move(body)); }
void join_thread(std::size_t thread) noexcept { the_engine.join(thread); }
void*& thread_local_pointer() noexcept {
  static void* outside = nullptr;
  return the_engine.running() ? the_engine.local() : outside;
}

void fail(const std::string& why) noexcept { the_engine.fail(why); }
void require(bool holds, const char* what) {
  if (!holds) the_engine.fail(what);
}
std::size_t this_thread() noexcept { return the_engine.current(); }
void yield() noexcept { the_engine.yield(); }
void created(const void* object, std::uint64_t value) noexcept {
  if (the_engine.running()) the_engine.created(object, value);
}
void destroyed(const void* object) noexcept {
  if (the_engine.running()) the_engine.destroyed(object);
}
std::uint64_t load(const void* object, std::uint64_t plain, std::memory_order o, const site& s) noexcept {
  return the_engine.running() ? the_engine.load(object, plain, o, s) : plain;
}
void store(const void* object, std::uint64_t plain, std::uint64_t value, std::memory_order o, const site& s) noexcept {
  if (the_engine.running()) the_engine.store(object, plain, value, o, s);
}
std::uint64_t modify(const void* object, std::uint64_t plain, const changing& change, std::memory_order success,
                     std::memory_order failure, const site& s) noexcept {
  if (the_engine.running()) return the_engine.modify(object, plain, change, success, failure, s);
  std::uint64_t stored;
  change(plain, stored);
  return plain;
}
bool fails_spuriously() noexcept { return the_engine.running() && the_engine.fails_spuriously(); }
void fence(std::memory_order o, const site& s) noexcept {
  if (the_engine.running()) the_engine.fence(o, s);
}
void membarrier(const site& s) noexcept { the_engine.membarrier(s); }
bool wait(const void* object, std::uint32_t expected, bool may_time_out, const site& s) noexcept {
  return the_engine.wait(object, expected, may_time_out, s);
}
void wake(const void* object, int count, const site& s) noexcept {
  if (the_engine.running()) the_engine.wake(object, count, s);
}
void access_plain(plain_history& h, bool write, const site& s) noexcept {
  if (the_engine.running()) the_engine.access_plain(h, write, s);
}

}  // namespace thrum::memory_model
