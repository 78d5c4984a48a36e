// How a task waits: what the awaitable twins, async_x() beside x(), are made of.
//
// An awaiter lies in the coroutine's frame and holds what the wait needs. `begin` does what x() does up to the point
// where that would park: false when the task has to be suspended. `end` does the rest once it has been resumed. Both
// are the library's; nothing here is for users.
//
// A header that offers twins needs no <coroutine>: only a task, which awaits them, does (task.hpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include <thrum/detail/deadline.hpp>
#include <thrum/detail/wait_queue.hpp>

namespace thrum::detail {

// One wait; its parts are known to src/sched/task_wait.hpp.
struct async_wait {
  enum class state : std::uint8_t { satisfied, waiting };

  alignas(8) std::byte node[48];  // A sched::wait_node, while waiting.
  wait_queue* queue = nullptr;
  state at = state::satisfied;
};

// Beside it where there is a deadline: a sched::timer.
struct async_timer {
  alignas(8) std::byte timer[72];
  bool armed = false;
  bool waiting = false;  // Of an awaiter that has no async_wait: a sleep.

  // Until it is armed there is room for its deadline.
  void set_deadline_ns(std::int64_t t) noexcept { std::memcpy(timer, &t, sizeof t); }
  std::int64_t deadline_ns() const noexcept {
    std::int64_t t;
    std::memcpy(&t, timer, sizeof t);
    return t;
  }
};

// The running task goes on with this coroutine when it is resumed.
void suspend_task(void* coroutine) noexcept;

// The base of awaiters: all of them suspend in this way. Empty, so that it adds nothing to their size.
struct suspends_task {
  template <class Handle>
  void await_suspend(Handle h) const noexcept {
    suspend_task(h.address());
  }
};

// After a wait in a queue. False: the deadline has passed. Throws cancelled.
bool end_wait(async_wait& wait, async_timer* timer);

struct no_ending {
  void operator()() const noexcept {}
};

// The awaiter of a call x() that waits without limit. Begin: bool(async_wait&, async_timer*); throws cancelled. End
// makes the result, after the wait.
template <class Begin, class End = no_ending>
class [[nodiscard]] awaiter : public suspends_task {
 public:
  explicit awaiter(Begin begin, End end = {}) : begin_(std::move(begin)), end_(std::move(end)) {}
  awaiter(const awaiter&) = delete;
  awaiter& operator=(const awaiter&) = delete;

  bool await_ready() { return begin_(wait_, nullptr); }
  decltype(auto) await_resume() {
    end_wait(wait_, nullptr);
    return end_();
  }

 private:
  [[no_unique_address]] Begin begin_;
  [[no_unique_address]] End end_;
  async_wait wait_;
};

// The same with a deadline: co_await tells whether it was met.
template <class Begin>
class [[nodiscard]] timed_awaiter : public suspends_task {
 public:
  timed_awaiter(std::int64_t deadline_ns, Begin begin) : begin_(std::move(begin)) {
    timer_.set_deadline_ns(deadline_ns);
  }
  timed_awaiter(const timed_awaiter&) = delete;
  timed_awaiter& operator=(const timed_awaiter&) = delete;

  bool await_ready() { return begin_(wait_, &timer_, timer_.deadline_ns()); }
  bool await_resume() { return end_wait(wait_, &timer_); }

 private:
  Begin begin_;
  async_wait wait_;
  async_timer timer_;
};

// Another awaiter, whose result goes through `then`. Made by make(), since awaiters do not move.
template <class Make, class Then>
class [[nodiscard]] awaiter_then {
 public:
  awaiter_then(Make make, Then then) : inner_(make()), then_(std::move(then)) {}
  awaiter_then(const awaiter_then&) = delete;
  awaiter_then& operator=(const awaiter_then&) = delete;

  bool await_ready() { return inner_.await_ready(); }
  template <class Handle>
  void await_suspend(Handle h) noexcept {
    inner_.await_suspend(h);
  }
  decltype(auto) await_resume() {
    inner_.await_resume();
    return then_();
  }

 private:
  std::invoke_result_t<Make&> inner_;
  Then then_;
};

// For objects that have begin_wait(async_wait&, async_timer*, deadline_ns).
template <class Object>
auto await_object(Object& o) {
  return awaiter([&o](async_wait& w, async_timer* t) { return o.begin_wait(w, t, never); });
}
template <class Object>
auto await_object_until(Object& o, std::int64_t deadline_ns) {
  return timed_awaiter(deadline_ns,
                       [&o](async_wait& w, async_timer* t, std::int64_t d) { return o.begin_wait(w, t, d); });
}

}  // namespace thrum::detail
