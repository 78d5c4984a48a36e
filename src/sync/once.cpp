// call_once: who runs the function, and a queue for those who come meanwhile.
#include <thrum/once.hpp>

#include <mutex>

#include "base/assert.hpp"
#include "sched/wait.hpp"

namespace thrum {
namespace {

constexpr sched::claim_code is_done = sched::clause_code(0);
constexpr sched::claim_code try_yourself = sched::clause_code(1);

const sched::waiter* runner_of(const void* state) noexcept {
  const auto s = static_cast<const std::atomic<std::uintptr_t>*>(state)->load(std::memory_order_relaxed);
  return s > 1 ? reinterpret_cast<const sched::waiter*>(s) : nullptr;  // Neither nobody nor done.
}

}  // namespace

once_flag::~once_flag() {
  std::lock_guard held(queue_.lock);  // The runner may still hold it.
  if (!queue_.waiters.empty()) base::panic("a once_flag is destroyed while somebody waits");
}

bool once_flag::begin() {
  sched::waiting w(sched::cancellation::point);
  const auto self = reinterpret_cast<std::uintptr_t>(&w.self());
  sched::wait_node node(w);
  {
    std::lock_guard held(queue_.lock);
    const auto state = state_.load(std::memory_order_acquire);
    if (state == done) return false;
    if (state == self) base::panic("call_once is called by its own function");
    if (state == nobody) {
      state_.store(self, std::memory_order_relaxed);
      return true;
    }
    w.open();
    push_back(queue_.waiters, node);
  }
  static constexpr sched::wait_kind kind{"call_once", &runner_of};
  const auto code = w.park(sched::never, {&kind, &state_});
  if (code == is_done) return false;
  if (code == try_yourself) return true;
  withdraw(queue_, node);
  w.throw_if_cancelled(code);
  return false;
}

// After a failure the first who waits becomes the runner; a claim that beats its cancellation is delivered, so somebody
// always is.
void once_flag::end(bool succeeded) noexcept {
  sched::runnable_batch batch;
  {
    std::lock_guard held(queue_.lock);
    state_.store(succeeded ? done : nobody, std::memory_order_release);
    while (auto* first = queue_.waiters.first) {
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
