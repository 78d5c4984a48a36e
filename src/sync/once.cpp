// call_once: who runs the function, and a queue for those who come meanwhile.
#include <thrum/once.hpp>

#include <mutex>

#include <thrum/cancelled.hpp>

#include "base/assert.hpp"
#include "sched/task_wait.hpp"

namespace thrum {
namespace {

constexpr sched::claim_code is_done = sched::clause_code(0);
constexpr sched::claim_code try_yourself = sched::clause_code(1);

const sched::waiter* runner_of(const void* state) noexcept {
  const auto s = static_cast<const detail::atomic<std::uintptr_t>*>(state)->load(std::memory_order_relaxed);
  return s > 1 ? reinterpret_cast<const sched::waiter*>(s) : nullptr;  // Neither nobody nor done.
}

const char* without_runner(const void* state, const sched::waiter&) noexcept {
  return runner_of(state) ? nullptr : "whose function nobody calls";
}

constexpr sched::wait_kind awaited_once{.what = "call_once", .holder = &runner_of, .could_go_on = &without_runner};

std::uintptr_t as_runner(const sched::waiter& w) noexcept { return reinterpret_cast<std::uintptr_t>(&w); }

}  // namespace

once_flag::~once_flag() {
  std::lock_guard held(queue_.lock);  // The runner may still hold it.
  if (!queue_.waiters.empty()) base::panic("a once_flag is destroyed while somebody waits");
}

// Under the queue's lock: must the caller, whose identity this is, wait? If not, `runs` tells what is to be done.
bool once_flag::settled(std::uintptr_t self, bool& runs) noexcept {
  const auto state = state_.load(std::memory_order_acquire);
  if (state == self) base::panic("call_once is called by its own function");
  runs = state == nobody;
  if (runs) state_.store(self, std::memory_order_relaxed);
  return runs || state == done;
}

bool once_flag::begin() {
  sched::claim_code code;
  {
    sched::waiting w(sched::cancellation::point);
    sched::wait_node node(w);
    {
      std::lock_guard held(queue_.lock);
      if (bool runs; settled(as_runner(w.self()), runs)) return runs;
      w.open();
      push_back(queue_.waiters, node);
    }
    code = w.park(sched::never, {&awaited_once, &state_});
    if (code == is_done) return false;
    if (code == try_yourself) return true;
    withdraw(queue_, node);
  }
  sched::throw_if_cancelled(code);
  return false;
}

// Where the task need not wait, the node's room keeps what settled() said.
bool once_flag::begin_wait(detail::async_wait& w) {
  auto& self = sched::begin_task_call(sched::cancellation::point);
  {
    std::lock_guard held(queue_.lock);
    bool runs;
    if (settled(as_runner(self), runs)) {
      w.node[0] = std::byte{runs};
      return true;
    }
    enqueue(self, w, queue_, sched::cancellation::point);
  }
  park_task(self, {&awaited_once, &state_}, sched::never, nullptr);
  return false;
}

bool once_flag::end_wait(detail::async_wait& w) {
  if (w.at == detail::async_wait::state::satisfied) return w.node[0] != std::byte{0};
  const auto code = sched::end_parking(nullptr);
  if (code == is_done || code == try_yourself) return code == try_yourself;
  withdraw(queue_, sched::node_in(w.node));
  throw cancelled{};
}

// After a failure the first who waits becomes the runner; a claim that beats its cancellation is delivered, so somebody
// always is.
void once_flag::end(bool succeeded) noexcept {
  sched::runnable_batch batch;
  {
    std::lock_guard held(queue_.lock);
    state_.store(succeeded ? done : nobody, std::memory_order_release);
    while (sched::wait_node* first = queue_.waiters.first) {
      remove(queue_.waiters, *first);
      const auto who = reinterpret_cast<std::uintptr_t>(first->who);
      if (!claim_waiter(*first->who, succeeded ? is_done : try_yourself, batch) || succeeded) continue;
      state_.store(who, std::memory_order_release);
      break;
    }
  }
  make_runnable(batch);
}

}  // namespace thrum
