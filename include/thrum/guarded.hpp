// Data that can be reached only while its lock is held. (The idea is Rust's Mutex<T>.)
//
//   thrum::guarded<std::map<key, value>> table;
//   table.lock()->emplace(k, v);                               // Held to the end of the full expression.
//   { auto t = table.lock(); if (!t->contains(k)) ...; }       // Held to the end of the block.
//   auto n = table.with([](auto& t) { return t.size(); });
//   auto full = table.wait([](const auto& t) { return t.size() == 10; });   // Locked, and it holds.
//
// guarded<T, thrum::shared_mutex> also has read(), which many can hold at a time and which gives a const T.
//
// lock(), read(), with() may suspend and are not cancellation points; wait*() are. Whoever may have changed the data,
// by ending an exclusive access, has those who wait look again. All from any fiber or thread.
//
// Clang's -Wthread-safety finds an access that would wait for another of the same function, as in *g.lock() =
// *g.lock(). It does not follow an access that is moved, returned or stored: see lock.hpp.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <type_traits>
#include <utility>

#include <thrum/clock.hpp>
#include <thrum/condition_variable.hpp>
#include <thrum/detail/thread_safety.hpp>
#include <thrum/mutex.hpp>
#include <thrum/shared_mutex.hpp>

namespace thrum {

namespace detail {
struct guarded_access;
}

template <class T, class Mutex = mutex>
class THRUM_CAPABILITY("guarded") guarded {
 public:
  // Exclusive access; movable. A moved-from access must not be used.
  class THRUM_SCOPED_CAPABILITY access {
   public:
    access(access&&) noexcept = default;
    access& operator=(access&&) = delete;
    // Notifies while the lock is held: the next owner may destroy it all.
    ~access() THRUM_RELEASE() {
      if (hold_ && home_->waiting_.load(std::memory_order_relaxed) > 0) home_->changed_.notify_all();
    }
    T& operator*() const noexcept { return home_->data_; }
    T* operator->() const noexcept { return &home_->data_; }

   private:
    friend class guarded;
    friend struct detail::guarded_access;
    explicit access(guarded& home) THRUM_ACQUIRE(home) : home_(&home), hold_(home.m_) {}
    access(guarded& home, std::adopt_lock_t held) THRUM_REQUIRES(home) : home_(&home), hold_(home.m_, held) {}
    guarded* home_;
    std::unique_lock<Mutex> hold_;
  };

  // Shared access, where the mutex has it.
  class THRUM_SCOPED_CAPABILITY read_access {
   public:
    read_access(read_access&&) noexcept = default;
    read_access& operator=(read_access&&) noexcept = default;
    ~read_access() THRUM_RELEASE_GENERIC() {}
    const T& operator*() const noexcept { return home_->data_; }
    const T* operator->() const noexcept { return &home_->data_; }

   private:
    friend class guarded;
    explicit read_access(const guarded& home) THRUM_ACQUIRE_SHARED(home) : home_(&home), hold_(home.m_) {}
    read_access(const guarded& home, std::adopt_lock_t held) THRUM_REQUIRES_SHARED(home)
        : home_(&home), hold_(home.m_, held) {}
    const guarded* home_;
    std::shared_lock<Mutex> hold_;
  };

  template <class... Args>
  explicit guarded(Args&&... args) : data_(std::forward<Args>(args)...) {}
  guarded(const guarded&) = delete;
  guarded& operator=(const guarded&) = delete;

  [[nodiscard]] access lock() THRUM_ACQUIRE() { return access(*this); }
  template <class M = Mutex>
  requires requires(M& m) { m.lock_shared(); }
  [[nodiscard]] read_access read() const THRUM_ACQUIRE_SHARED() { return read_access(*this); }

  // For tasks: co_await them. Clang's analysis does not follow them. The twin of wait() is async_wait(), task_sync.hpp.
  auto async_lock() {
    return detail::awaiter_then([this] { return m_.async_lock(); }, [this] { return access(*this, std::adopt_lock); });
  }
  template <class M = Mutex>
  requires requires(M& m) { m.lock_shared(); }
  auto async_read() const {
    return detail::awaiter_then([this] { return m_.async_lock_shared(); },
                                [this] { return read_access(*this, std::adopt_lock); });
  }

  template <class F>
  decltype(auto) with(F&& f) THRUM_EXCLUDES(this) {
    const access a(*this);
    return std::invoke(std::forward<F>(f), *a);
  }

  // Until the predicate holds on the data, which is then locked. The predicate sees a const T, under the lock.
  template <class Predicate>
  [[nodiscard]] access wait(Predicate holds) THRUM_ACQUIRE() {
    access a(*this);
    wait_with(a, [&](auto& hold) { changed_.wait(hold, [&] { return holds(std::as_const(data_)); }); });
    return a;
  }
  // Empty when the time is up and the predicate still does not hold.
  template <class Rep, class Period, class Predicate>
  [[nodiscard]] std::optional<access> wait_for(std::chrono::duration<Rep, Period> d, Predicate holds) {
    return wait_until(detail::time_after(d), std::move(holds));
  }
  template <class Clock, class Duration, class Predicate>
  [[nodiscard]] std::optional<access> wait_until(std::chrono::time_point<Clock, Duration> t, Predicate holds) {
    access a(*this);
    bool held = false;
    wait_with(a, [&](auto& hold) { held = changed_.wait_until(hold, t, [&] { return holds(std::as_const(data_)); }); });
    if (!held) return std::nullopt;
    return a;
  }

 private:
  friend struct detail::guarded_access;
  using condition = std::conditional_t<std::is_same_v<Mutex, mutex>, condition_variable, condition_variable_any>;

  template <class Wait>
  void wait_with(access& a, Wait wait) {
    struct counted {
      std::atomic<int>& waiting;
      explicit counted(std::atomic<int>& w) noexcept : waiting(w) { waiting.fetch_add(1, std::memory_order_relaxed); }
      ~counted() { waiting.fetch_sub(1, std::memory_order_relaxed); }
    } c(waiting_);  // Under the lock, as it is read.
    wait(a.hold_);
  }

  mutable Mutex m_;
  condition changed_;
  std::atomic<int> waiting_{0};
  T data_;
};

}  // namespace thrum
