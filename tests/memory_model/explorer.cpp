// The search, the threads of an execution, and the story of one that fails.
#include "memory_model/explorer.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "context/context.hpp"
#include "memory_model/memory.hpp"

namespace thrum::memory_model {
namespace {

constexpr std::size_t stack_size = 128 * 1024;
constexpr int steps_max = 3000;  // Of an execution; one that makes more does not end.

struct choice {
  std::size_t taken, count;
};

struct event {
  std::size_t thread;
  operation what;
  std::memory_order order;
  std::size_t where = SIZE_MAX;  // Location; none for fences.
  bool stale = false, changed = false;
  std::uint64_t read = 0, stored = 0;
  site at;
};

enum class condition : std::uint8_t { ready, yielded, asleep, ended };

struct model_thread {
  const char* name = "";
  std::function<void()> body;
  condition is = condition::ended;
  const void* sleeps_on = nullptr;
  bool may_time_out = false, timed_out = false;
  int yielded_at = 0;  // In steps.
  context::context ctx;
  std::unique_ptr<char[]> stack;

  bool can_run() const {
    return is == condition::ready || is == condition::yielded || (is == condition::asleep && may_time_out);
  }
};

// A mutation applies to functions by name; the compiler's strings are few, so they are compared once each.
class mutation_sites {
 public:
  void aim(const mutation& m) {
    change_ = m;
    known_.clear();
  }
  bool hits(operation what, const site& s) {
    if (!change_.function || what != change_.what) return false;
    for (const auto& [name, hit] : known_)
      if (name == s.function_name()) return hit;
    known_.emplace_back(s.function_name(), std::strstr(s.function_name(), change_.function) != nullptr);
    return known_.back().second;
  }
  const mutation& change() const { return change_; }

 private:
  mutation change_;
  std::vector<std::pair<const char*, bool>> known_;
};

class engine {
 public:
  outcome explore(const limits& l, const std::function<void(program&)>& set_up);
  void add(const char* name, std::function<void()> body);
  void set_last(std::function<void()> body) { last_ = std::move(body); }

  bool running() const { return running_; }
  std::size_t current() const { return current_; }
  [[noreturn]] void fail(const std::string& why);
  void yield();
  void created(const void* object, std::uint64_t value) { memory_.create(object, value); }
  std::uint64_t load(const void* object, std::uint64_t plain, std::memory_order o, const site& s);
  void store(const void* object, std::uint64_t plain, std::uint64_t value, std::memory_order o, const site& s);
  std::uint64_t modify(const void* object, std::uint64_t plain, const changing& change, std::memory_order success,
                       std::memory_order failure, const site& s);
  void fence(std::memory_order o, const site& s);
  void membarrier(const site& s);
  bool wait(const void* object, std::uint32_t expected, bool may_time_out, const site& s);
  void wake(const void* object, int count, const site& s);
  void access_plain(plain_history& h, bool write, const site& s);

 private:
  void execute(const std::function<void(program&)>& set_up);
  bool advance();
  std::size_t choose(std::size_t count);
  void run_next(std::vector<std::size_t> candidates);
  void step();
  void finish_step() { memory_.step(current_); }
  void leave();
  void switch_to(std::size_t next);
  bool mutated(operation what, const site& s, mutation::kind how);
  std::memory_order weakened(operation what, std::memory_order o, const site& s);
  std::size_t place_of(const void* object, std::uint64_t plain);
  std::uint16_t choose_read(const std::vector<std::uint16_t>& readable, std::size_t where);
  std::string story(const std::string& why) const;
  std::string tell(const event& e) const;
  static void thread_main(void* self);

  limits limits_;
  outcome outcome_;
  mutation_sites mutations_;
  std::vector<choice> choices_;
  std::size_t next_choice_ = 0;

  // Of the execution.
  memory memory_;
  std::vector<event> events_;
  std::array<model_thread, threads_max> threads_;
  std::size_t count_ = 1;  // Of threads, with the one that sets up.
  std::size_t current_ = 0;
  int preemptions_left_ = 0, stale_left_ = 0, steps_ = 0;
  bool running_ = false;
  std::function<void()> last_;
  context::context explorer_;
};

engine the_engine;

// ---------------------------------------------------------------------------------------------------------------
// The search.

outcome engine::explore(const limits& l, const std::function<void(program&)>& set_up) {
  limits_ = l;
  outcome_ = {};
  mutations_.aim(l.change);
  choices_.clear();
  do {
    execute(set_up);
    ++outcome_.executions;
  } while (outcome_.passed && advance() && outcome_.executions < l.executions);
  outcome_.exhausted = outcome_.passed && choices_.empty();
  return std::exchange(outcome_, {});
}

// To the next execution: false when there is none.
bool engine::advance() {
  choices_.resize(next_choice_);
  while (!choices_.empty() && choices_.back().taken + 1 == choices_.back().count) choices_.pop_back();
  if (choices_.empty()) return false;
  ++choices_.back().taken;
  return true;
}

// The first alternative is what a plain machine that is never interrupted would do.
std::size_t engine::choose(std::size_t count) {
  if (count == 1) return 0;
  if (next_choice_ == choices_.size()) choices_.push_back({0, count});
  const auto& c = choices_[next_choice_++];
  if (c.count != count) {
    std::fprintf(stderr, "memory model: an execution does not repeat itself\n");
    std::abort();
  }
  return c.taken;
}

void engine::execute(const std::function<void(program&)>& set_up) {
  memory_.clear();
  events_.clear();
  next_choice_ = 0;
  count_ = 1;
  current_ = 0;
  steps_ = 0;
  preemptions_left_ = limits_.preemptions;
  stale_left_ = limits_.stale_reads;
  last_ = nullptr;
  running_ = true;
  // All of it on a stack that fail() can leave.
  threads_[0].body = [&] {
    program p;
    set_up(p);
    for (std::size_t i = 1; i < count_; ++i) memory_.begin(i);
    leave();
    if (last_) last_();
  };
  add("main", nullptr);
  context::switch_to(explorer_, threads_[0].ctx);
  running_ = false;
  // What a failed execution leaves is in no state to be destroyed.
  for (auto& t : threads_) {
    if (!outcome_.passed) static_cast<void>(new std::function<void()>(t.body));
    t.body = nullptr;
  }
}

void engine::add(const char* name, std::function<void()> body) {
  const std::size_t i = body ? count_++ : 0;
  if (i == threads_max) std::abort();  // Raise it.
  auto& t = threads_[i];
  t.name = name;
  if (body) t.body = std::move(body);
  t.is = condition::ready;
  if (!t.stack) t.stack = std::make_unique<char[]>(stack_size);
  const auto top = reinterpret_cast<std::uintptr_t>(t.stack.get() + stack_size) & ~std::uintptr_t{63};
  context::make(t.ctx, reinterpret_cast<void*>(top), &thread_main, &t);
}

void engine::thread_main(void* self) {
  auto& t = *static_cast<model_thread*>(self);
  t.body();
  if (&t != &the_engine.threads_[0]) {
    t.is = condition::ended;
    the_engine.memory_.end(the_engine.current_);
    the_engine.leave();
  }
  context::switch_to(t.ctx, the_engine.explorer_);
  __builtin_unreachable();
}

void engine::fail(const std::string& why) {
  outcome_.passed = false;
  outcome_.report = story(why);
  context::switch_to(threads_[current_].ctx, explorer_);  // For ever.
  __builtin_unreachable();
}

// ---------------------------------------------------------------------------------------------------------------
// Threads.

void engine::switch_to(std::size_t next) {
  if (next == current_) return;
  auto& from = threads_[std::exchange(current_, next)];
  context::switch_to(from.ctx, threads_[next].ctx);
}

void engine::run_next(std::vector<std::size_t> candidates) {
  const auto next = candidates[choose(candidates.size())];
  auto& t = threads_[next];
  if (t.is == condition::asleep) t.timed_out = true;
  t.is = condition::ready;
  switch_to(next);
}

// Before each operation: others may come first.
void engine::step() {
  if (++steps_ > steps_max) fail("it does not end");
  if (current_ == 0 || preemptions_left_ == 0) return;
  std::vector<std::size_t> candidates{current_};
  for (std::size_t i = 1; i < count_; ++i)
    if (i != current_ && threads_[i].can_run()) candidates.push_back(i);
  const auto next = candidates[choose(candidates.size())];
  if (next == current_) return;
  --preemptions_left_;
  run_next({next});
}

// The current thread cannot go on, or must not: somebody else runs; the first thread when all have ended. Those who
// have yielded come last, in turn, so that no two of them keep the others waiting for ever.
void engine::leave() {
  std::vector<std::size_t> candidates;
  std::size_t longest = 0;
  for (std::size_t i = 1; i < count_; ++i) {
    const auto& t = threads_[i];
    if (t.is == condition::yielded) {
      if (longest == 0 || t.yielded_at < threads_[longest].yielded_at) longest = i;
    } else if (i != current_ && t.can_run()) {
      candidates.push_back(i);
    }
  }
  if (candidates.empty() && longest != 0) candidates.push_back(longest);
  if (!candidates.empty()) return run_next(candidates);
  for (std::size_t i = 1; i < count_; ++i)
    if (threads_[i].is != condition::ended) fail("nobody can go on: a wake-up is lost, or a deadlock");
  switch_to(0);
}

void engine::yield() {
  if (++steps_ > steps_max) fail("it does not end");
  threads_[current_].is = condition::yielded;
  threads_[current_].yielded_at = steps_;
  leave();
  threads_[current_].is = condition::ready;
  memory_.freshen(current_);
}

// ---------------------------------------------------------------------------------------------------------------
// Operations.

bool engine::mutated(operation what, const site& s, mutation::kind how) {
  if (mutations_.change().how != how || !mutations_.hits(what, s)) return false;
  ++outcome_.mutated;
  return true;
}

std::memory_order engine::weakened(operation what, std::memory_order o, const site& s) {
  return o != std::memory_order_relaxed && mutated(what, s, mutation::kind::weakened) ? std::memory_order_relaxed : o;
}

std::size_t engine::place_of(const void* object, std::uint64_t plain) {
  const auto where = memory_.find(object);
  return where == SIZE_MAX ? memory_.create(object, plain) : where;
}

std::uint16_t engine::choose_read(const std::vector<std::uint16_t>& readable, std::size_t where) {
  const auto number = readable[stale_left_ > 0 ? choose(readable.size()) : 0];
  if (!memory_.is_newest(where, number)) --stale_left_;
  return number;
}

std::uint64_t engine::load(const void* object, std::uint64_t plain, std::memory_order o, const site& s) {
  step();
  const auto where = place_of(object, plain);
  event e{current_, operation::load, weakened(operation::load, o, s), where, false, false, 0, 0, s};
  if (mutated(operation::load, s, mutation::kind::left_out)) {
    e.read = mutations_.change().value;
    e.changed = true;
  } else {
    const auto number = choose_read(memory_.readable(current_, where, e.order), where);
    memory_.read(current_, where, number, e.order);
    e.read = memory_.at(where, number).value;
    e.stale = !memory_.is_newest(where, number);
    e.changed = e.order != o;
  }
  events_.push_back(e);
  finish_step();
  return e.read;
}

void engine::store(const void* object, std::uint64_t plain, std::uint64_t value, std::memory_order o, const site& s) {
  step();
  const auto where = place_of(object, plain);
  event e{current_, operation::store, weakened(operation::store, o, s), where, false, false, 0, value, s};
  e.changed = e.order != o;
  if (mutated(operation::store, s, mutation::kind::left_out)) {
    e.changed = true;
  } else {
    const auto places = memory_.places(current_, where, e.order);
    const auto behind = places[choose(places.size())];
    e.stale = !memory_.is_newest(where, behind);
    memory_.store(current_, where, behind, value, e.order);
  }
  events_.push_back(e);
  finish_step();
}

std::uint64_t engine::modify(const void* object, std::uint64_t plain, const changing& change, std::memory_order success,
                             std::memory_order failure, const site& s) {
  step();
  const auto where = place_of(object, plain);
  event e{current_, operation::modify, weakened(operation::modify, success, s), where, false, false, 0, 0, s};
  e.changed = e.order != success;
  // A message that is followed by another modification can be read, but not be modified once more.
  auto readable = memory_.readable(current_, where, e.order);
  std::erase_if(readable, [&](std::uint16_t n) {
    return memory_.at(where, n).is_followed && change(memory_.at(where, n).value, e.stored);
  });
  const auto number = choose_read(readable, where);
  e.read = memory_.at(where, number).value;
  e.stale = !memory_.is_newest(where, number);
  const bool stores = change(e.read, e.stored);
  if (!stores) {
    e.what = operation::load;
    e.order = e.changed ? std::memory_order_relaxed : failure;
  }
  memory_.read(current_, where, number, e.order);
  if (stores && mutated(operation::modify, s, mutation::kind::left_out))
    e.changed = true;
  else if (stores)
    memory_.modify(current_, where, number, e.stored, e.order);
  events_.push_back(e);
  finish_step();
  return e.read;
}

void engine::fence(std::memory_order o, const site& s) {
  step();
  event e{current_, operation::fence, weakened(operation::fence, o, s), SIZE_MAX, false, false, 0, 0, s};
  e.changed = e.order != o;
  if (mutated(operation::fence, s, mutation::kind::left_out))
    e.changed = true;
  else
    memory_.fence(current_, e.order);
  events_.push_back(e);
  finish_step();
}

// A fence in every thread, one after the other, while they go on.
void engine::membarrier(const site& s) {
  const auto self = current_;
  event e{self, operation::membarrier, std::memory_order_seq_cst, SIZE_MAX, false, false, 0, 0, s};
  e.changed = mutated(operation::membarrier, s, mutation::kind::left_out);
  events_.push_back(e);
  if (e.changed) return;
  memory_.fence(self, std::memory_order_seq_cst);
  for (std::size_t i = 1; i < count_; ++i) {
    step();
    memory_.fence(i, std::memory_order_seq_cst);
    memory_.step(i);
  }
  memory_.fence(self, std::memory_order_seq_cst);
  finish_step();
}

bool engine::wait(const void* object, std::uint32_t expected, bool may_time_out, const site& s) {
  step();
  const auto where = memory_.find(object);
  if (where == SIZE_MAX) fail("a wait on a word that nobody has touched");
  memory_.fence(current_, std::memory_order_seq_cst);
  const auto number = choose_read(memory_.readable(current_, where, std::memory_order_relaxed), where);
  memory_.read(current_, where, number, std::memory_order_relaxed);
  const auto read = memory_.at(where, number).value;
  events_.push_back({current_, operation::wait, std::memory_order_seq_cst, where, false, false, read, expected, s});
  auto& self = threads_[current_];
  self.timed_out = false;
  if (static_cast<std::uint32_t>(read) == expected) {
    self.is = condition::asleep;
    self.sleeps_on = object;
    self.may_time_out = may_time_out;
    leave();
  }
  finish_step();
  return !self.timed_out;
}

void engine::wake(const void* object, int count, const site& s) {
  step();
  const auto where = memory_.find(object);
  events_.push_back({current_, operation::wake, std::memory_order_seq_cst, where, false, false, 0, 0, s});
  memory_.fence(current_, std::memory_order_seq_cst);
  for (std::size_t i = 1; i < count_ && count > 0; ++i) {
    if (threads_[i].is != condition::asleep || threads_[i].sleeps_on != object) continue;
    threads_[i].is = condition::ready;
    --count;
  }
  finish_step();
}

void engine::access_plain(plain_history& h, bool write, const site& s) {
  if (write ? !memory_.write_plain(current_, h) : !memory_.read_plain(current_, h)) return;
  fail(std::string("a race: ") + threads_[current_].name + (write ? " writes" : " reads") + " a plain object, in " +
       s.function_name());
}

// ---------------------------------------------------------------------------------------------------------------
// The story.

const char* name_of(operation o) {
  static constexpr const char* names[] = {"load", "store", "modify", "fence", "membarrier", "futex wait", "futex wake"};
  return names[static_cast<std::size_t>(o)];
}

const char* name_of(std::memory_order o) {
  switch (o) {
    case std::memory_order_relaxed:
      return "relaxed";
    case std::memory_order_acquire:
      return "acquire";
    case std::memory_order_release:
      return "release";
    case std::memory_order_acq_rel:
      return "acq_rel";
    default:
      return "seq_cst";
  }
}

std::string engine::tell(const event& e) const {
  char what[160];
  const auto location = static_cast<unsigned>(e.where);
  const auto read = static_cast<unsigned long long>(e.read), stored = static_cast<unsigned long long>(e.stored);
  const char* late = e.what == operation::store ? "  (before newer ones)" : "  (an older one)";
  switch (e.what) {
    case operation::load:
      std::snprintf(what, sizeof what, "a%u: reads %#llx", location, read);
      break;
    case operation::store:
      std::snprintf(what, sizeof what, "a%u = %#llx", location, stored);
      break;
    case operation::modify:
      std::snprintf(what, sizeof what, "a%u: %#llx becomes %#llx", location, read, stored);
      break;
    case operation::wait:
      std::snprintf(what, sizeof what, "a%u: is %#llx, expects %#llx", location, read, stored);
      break;
    case operation::wake:
      std::snprintf(what, sizeof what, "a%u", location);
      break;
    default:
      what[0] = 0;
  }
  const char* file = std::strrchr(e.at.file_name(), '/');
  char line[400];
  std::snprintf(line, sizeof line, "  %-10s %-10s %-8s %s%s%s  [%s:%u]\n", threads_[e.thread].name, name_of(e.what),
                name_of(e.order), what, e.stale ? late : "", e.changed ? "  (mutated)" : "",
                file ? file + 1 : e.at.file_name(), static_cast<unsigned>(e.at.line()));
  return line;
}

std::string engine::story(const std::string& why) const {
  std::string text = why + "; execution " + std::to_string(outcome_.executions + 1) + ":\n";
  for (const auto& e : events_) text += tell(e);
  return text;
}

bool exploring() { return the_engine.running(); }

}  // namespace

outcome explore(const limits& l, const std::function<void(program&)>& set_up) { return the_engine.explore(l, set_up); }
void program::thread(const char* name, std::function<void()> body) { the_engine.add(name, std::move(body)); }
void program::finally(std::function<void()> body) { the_engine.set_last(std::move(body)); }

void fail(const std::string& why) noexcept { the_engine.fail(why); }
void require(bool holds, const char* what) {
  if (!holds) the_engine.fail(what);
}
std::size_t this_thread() noexcept { return the_engine.current(); }
void yield() noexcept { the_engine.yield(); }
void created(const void* object, std::uint64_t value) noexcept {
  if (exploring()) the_engine.created(object, value);
}
std::uint64_t load(const void* object, std::uint64_t plain, std::memory_order o, const site& s) noexcept {
  return exploring() ? the_engine.load(object, plain, o, s) : plain;
}
void store(const void* object, std::uint64_t plain, std::uint64_t value, std::memory_order o, const site& s) noexcept {
  if (exploring()) the_engine.store(object, plain, value, o, s);
}
std::uint64_t modify(const void* object, std::uint64_t plain, const changing& change, std::memory_order success,
                     std::memory_order failure, const site& s) noexcept {
  if (exploring()) return the_engine.modify(object, plain, change, success, failure, s);
  std::uint64_t stored;
  change(plain, stored);
  return plain;
}
void fence(std::memory_order o, const site& s) noexcept {
  if (exploring()) the_engine.fence(o, s);
}
void membarrier(const site& s) noexcept { the_engine.membarrier(s); }
bool wait(const void* object, std::uint32_t expected, bool may_time_out, const site& s) noexcept {
  return the_engine.wait(object, expected, may_time_out, s);
}
void wake(const void* object, int count, const site& s) noexcept { the_engine.wake(object, count, s); }
void access_plain(plain_history& h, bool write, const site& s) noexcept {
  if (exploring()) the_engine.access_plain(h, write, s);
}

}  // namespace thrum::memory_model
