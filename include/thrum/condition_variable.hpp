// A condition variable for fibers and plain threads, used with thrum::mutex as std::condition_variable is with
// std::mutex.
//
//   std::unique_lock hold(m);
//   ready.wait(hold, [&] { return done; });
//
// All waits suspend and are cancellation points; the mutex is held again before `cancelled` is thrown. Notifying never
// suspends and may be done by any thread. Waiters are woken in FIFO order.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <utility>

#include <thrum/clock.hpp>
#include <thrum/detail/async.hpp>
#include <thrum/detail/deadline.hpp>
#include <thrum/detail/shown_predicate.hpp>
#include <thrum/detail/thread_safety.hpp>
#include <thrum/detail/wait_queue.hpp>
#include <thrum/mutex.hpp>
#include <thrum/wait_on_address.hpp>

namespace thrum {

template <class T>
class task;

class condition_variable {
 public:
  constexpr condition_variable() noexcept = default;
  ~condition_variable();  // Ends the process when somebody waits.
  condition_variable(const condition_variable&) = delete;
  condition_variable& operator=(const condition_variable&) = delete;

  void notify_one() noexcept;
  void notify_all() noexcept;

  void wait(std::unique_lock<mutex>& hold) { wait_until_ns(hold, detail::never); }

  // Until the predicate holds, which is called with the mutex held and must not change anything: a simulation calls it
  // also while nobody runs, and says so when the notification was forgotten (sim.hpp).
  template <class Predicate>
  void wait(std::unique_lock<mutex>& hold, Predicate done) THRUM_NO_THREAD_SAFETY_ANALYSIS {
    while (!done()) {
      const detail::shown_predicate shown(done, *hold.mutex());
      wait_until_ns(hold, detail::never, &shown);
    }
  }

  template <class Rep, class Period>
  std::cv_status wait_for(std::unique_lock<mutex>& hold, std::chrono::duration<Rep, Period> d) {
    return status(wait_until_ns(hold, detail::deadline_after(d)));
  }
  template <class Clock, class Duration>
  std::cv_status wait_until(std::unique_lock<mutex>& hold, std::chrono::time_point<Clock, Duration> t) {
    return status(wait_until_ns(hold, detail::deadline_at(t)));
  }

  // False when the time is up and the predicate still does not hold.
  template <class Rep, class Period, class Predicate>
  bool wait_for(std::unique_lock<mutex>& hold, std::chrono::duration<Rep, Period> d, Predicate done) {
    return wait_until_ns_for(hold, detail::deadline_after(d), done);
  }
  template <class Clock, class Duration, class Predicate>
  bool wait_until(std::unique_lock<mutex>& hold, std::chrono::time_point<Clock, Duration> t, Predicate done) {
    return wait_until_ns_for(hold, detail::deadline_at(t), done);
  }

  // For tasks, with <thrum/task.hpp>: co_await it, in a loop that tests the condition. `hold` and the condition
  // variable must outlive it.
  task<void> async_wait(std::unique_lock<mutex>& hold);
  // False when the time is up.
  template <class Rep, class Period>
  auto async_wait_for(std::unique_lock<mutex>& hold, std::chrono::duration<Rep, Period> d) {
    return async_wait_until_ns(hold, detail::deadline_after(d));
  }
  template <class Clock, class Duration>
  auto async_wait_until(std::unique_lock<mutex>& hold, std::chrono::time_point<Clock, Duration> t) {
    return async_wait_until_ns(hold, detail::deadline_at(t));
  }

  // With a predicate, with <thrum/task_sync.hpp>. False when the time is up and it still does not hold.
  template <class Predicate>
  task<void> async_wait(std::unique_lock<mutex>& hold, Predicate done) THRUM_NO_THREAD_SAFETY_ANALYSIS;
  template <class Rep, class Period, class Predicate>
  auto async_wait_for(std::unique_lock<mutex>& hold, std::chrono::duration<Rep, Period> d, Predicate done) {
    return async_wait_until_ns(hold, detail::deadline_after(d), std::move(done));
  }
  template <class Clock, class Duration, class Predicate>
  auto async_wait_until(std::unique_lock<mutex>& hold, std::chrono::time_point<Clock, Duration> t, Predicate done) {
    return async_wait_until_ns(hold, detail::deadline_at(t), std::move(done));
  }

 private:
  struct waited_for;  // How its waits are told.

  // False: timed out.
  bool wait_until_ns(std::unique_lock<mutex>& hold, std::int64_t deadline_ns,
                     const detail::shown_predicate* shown = nullptr);
  bool begin_wait(std::unique_lock<mutex>& hold, detail::async_wait& w, detail::async_timer* timer,
                  std::int64_t deadline_ns, const detail::shown_predicate* shown);
  struct beginning {
    condition_variable& variable;
    std::unique_lock<mutex>& hold;
    const detail::shown_predicate* shown;
    bool operator()(detail::async_wait& w, detail::async_timer* timer, std::int64_t deadline_ns) const {
      return variable.begin_wait(hold, w, timer, deadline_ns, shown);
    }
  };
  task<bool> async_wait_shown(std::unique_lock<mutex>& hold, std::int64_t deadline_ns,
                              const detail::shown_predicate* shown);
  task<bool> async_wait_until_ns(std::unique_lock<mutex>& hold, std::int64_t deadline_ns);
  template <class Predicate>
  task<bool> async_wait_until_ns(std::unique_lock<mutex>& hold, std::int64_t deadline_ns,
                                 Predicate done) THRUM_NO_THREAD_SAFETY_ANALYSIS;

  template <class Predicate>
  bool wait_until_ns_for(std::unique_lock<mutex>& hold, std::int64_t deadline_ns,
                         Predicate& done) THRUM_NO_THREAD_SAFETY_ANALYSIS {
    while (!done())
      if (!wait_until_ns(hold, deadline_ns)) return done();
    return true;
  }
  static std::cv_status status(bool notified) noexcept {
    return notified ? std::cv_status::no_timeout : std::cv_status::timeout;
  }

  detail::wait_queue queue_;
};

// The same for any lock: `hold` needs lock() and unlock(), and try_lock() for a simulation to see what is waited for;
// for tasks it is a std::unique_lock or std::shared_lock of one of our mutexes. May wake somebody without a
// notification; must not be destroyed while somebody waits.
class condition_variable_any {
 public:
  void notify_one() noexcept {
    changes_.fetch_add(1, std::memory_order_release);  // Pairs with the acquire of who waits for it, as below.
    wake_by_address_one(changes_);
  }
  void notify_all() noexcept {
    changes_.fetch_add(1, std::memory_order_release);
    wake_by_address_all(changes_);
  }

  template <class Lock>
  void wait(Lock& hold) {
    wait_released(hold, [this](auto seen) { change_after(seen).wait_until_ns(detail::never); });
  }
  template <class Lock, class Predicate>
  void wait(Lock& hold, Predicate done) THRUM_NO_THREAD_SAFETY_ANALYSIS {
    while (!done()) {
      const detail::shown_predicate shown(done, hold);
      wait_released(hold, [&](auto seen) { change_after(seen, &shown).wait_until_ns(detail::never); });
    }
  }
  template <class Lock, class Rep, class Period>
  std::cv_status wait_for(Lock& hold, std::chrono::duration<Rep, Period> d) {
    return wait_until(hold, detail::time_after(d));
  }
  template <class Lock, class Clock, class Duration>
  std::cv_status wait_until(Lock& hold, std::chrono::time_point<Clock, Duration> t) {
    bool changed = false;
    wait_released(hold, [&](auto seen) { changed = change_after(seen).wait_until_ns(detail::deadline_at(t)); });
    return changed ? std::cv_status::no_timeout : std::cv_status::timeout;
  }
  template <class Lock, class Rep, class Period, class Predicate>
  bool wait_for(Lock& hold, std::chrono::duration<Rep, Period> d, Predicate done) {
    return wait_until(hold, detail::time_after(d), std::move(done));
  }
  template <class Lock, class Clock, class Duration, class Predicate>
  bool wait_until(Lock& hold, std::chrono::time_point<Clock, Duration> t,
                  Predicate done) THRUM_NO_THREAD_SAFETY_ANALYSIS {
    while (!done())
      if (wait_until(hold, t) == std::cv_status::timeout) return done();
    return true;
  }

  // For tasks, with <thrum/task_sync.hpp>: co_await them. False when the time is up, and with a predicate it still does
  // not hold.
  template <class Lock>
  task<void> async_wait(Lock& hold) THRUM_NO_THREAD_SAFETY_ANALYSIS;
  template <class Lock, class Predicate>
  task<void> async_wait(Lock& hold, Predicate done) THRUM_NO_THREAD_SAFETY_ANALYSIS;
  template <class Lock, class Rep, class Period, class... Predicate>
  auto async_wait_for(Lock& hold, std::chrono::duration<Rep, Period> d, Predicate... done) {
    return async_wait_until_ns(hold, detail::deadline_after(d), std::move(done)...);
  }
  template <class Lock, class Clock, class Duration, class... Predicate>
  auto async_wait_until(Lock& hold, std::chrono::time_point<Clock, Duration> t, Predicate... done) {
    return async_wait_until_ns(hold, detail::deadline_at(t), std::move(done)...);
  }

 private:
  // Who has to be notified has read the count before its lock is released; so a notification after that is not missed.
  template <class Lock, class Wait>
  void wait_released(Lock& hold, Wait wait) THRUM_NO_THREAD_SAFETY_ANALYSIS {
    const auto seen = changes_.load(std::memory_order_acquire);
    hold.unlock();
    struct relock {
      Lock& hold;
      ~relock() THRUM_NO_THREAD_SAFETY_ANALYSIS { hold.lock(); }
    } r{hold};
    wait(seen);
  }
  detail::address_wait change_after(std::uint64_t seen, const detail::shown_predicate* shown = nullptr) const noexcept {
    auto change = detail::waits_for(changes_, seen);
    change.of = detail::address_wait::owner::condition;
    change.shown = shown;
    return change;
  }
  template <class Lock>
  task<bool> async_wait_shown(Lock& hold, std::int64_t deadline_ns,
                              const detail::shown_predicate* shown) THRUM_NO_THREAD_SAFETY_ANALYSIS;
  template <class Lock>
  auto async_wait_until_ns(Lock& hold, std::int64_t deadline_ns) {
    return async_wait_shown(hold, deadline_ns, nullptr);
  }
  template <class Lock, class Predicate>
  task<bool> async_wait_until_ns(Lock& hold, std::int64_t deadline_ns, Predicate done) THRUM_NO_THREAD_SAFETY_ANALYSIS;

  std::atomic<std::uint64_t> changes_{0};  // Notifications so far.
};

}  // namespace thrum
