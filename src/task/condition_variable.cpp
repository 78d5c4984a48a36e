// condition_variable's twins: after the wait a task has to wait once more, for the mutex.
#include <thrum/condition_variable.hpp>

#include <exception>

#include <thrum/task.hpp>

namespace thrum {

task<bool> condition_variable::async_wait_shown(std::unique_lock<mutex>& hold, std::int64_t deadline_ns,
                                                const detail::shown_predicate* shown) {
  bool notified = false;
  std::exception_ptr failure;
  try {
    notified = co_await detail::timed_awaiter(deadline_ns, beginning{*this, hold, shown});
  } catch (...) {
    failure = std::current_exception();
  }
  // Unless it was cancelled before it began, the mutex has been released.
  if (!hold.owns_lock()) hold = co_await hold.mutex()->async_scoped_lock();
  if (failure) std::rethrow_exception(failure);
  co_return notified;
}

task<bool> condition_variable::async_wait_until_ns(std::unique_lock<mutex>& hold, std::int64_t deadline_ns) {
  return async_wait_shown(hold, deadline_ns, nullptr);
}

task<void> condition_variable::async_wait(std::unique_lock<mutex>& hold) {
  (void)co_await async_wait_shown(hold, detail::never, nullptr);
}

}  // namespace thrum
