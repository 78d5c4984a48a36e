// Waiting for an atomic to change, as std::atomic::wait, for fibers, tasks and plain threads: what own primitives are
// made of.
//
//   thrum::wait_on_address(state, busy);                          // Returns once state is not `busy`.
//   state.store(idle); thrum::wake_by_address_all(state);
//
// Waiting suspends unless the atomic has another value, and is a cancellation point. It returns when somebody wakes by
// the address or, false, when the time is up; the value may be the old one again by then. Waking never suspends. All
// from any fiber, task or thread. Nothing has to be created or destroyed; the atomic may go once nobody waits. Who has
// changed it and wakes nobody is found by a simulation (sim.hpp).
//
// The idea is that of futex(2); the names are those of Windows' WaitOnAddress.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <type_traits>

#include <thrum/detail/async.hpp>
#include <thrum/detail/deadline.hpp>

namespace thrum {

namespace detail {

// Whether the atomic at `address` has another value than `old`.
using differs = bool (*)(const void* address, std::uint64_t old) noexcept;

class shown_predicate;

// Lies with whoever waits, for as long.
struct address_wait {
  const void* address;
  differs changed;
  std::uint64_t old;

  // For those who ask whether a wake-up was forgotten: whether the atomic is a condition variable's, and what for.
  enum class owner : std::uint8_t { program, condition } of = owner::program;
  const shown_predicate* shown = nullptr;
  mutable std::uint32_t passed_over = 0;  // Single wake-ups of others before this wait.

  bool wait_until_ns(std::int64_t deadline_ns) const;
  bool begin_wait(async_wait& w, async_timer* timer, std::int64_t deadline_ns) const;
};
void wake_by_address(const void* address, bool all) noexcept;

template <class T>
std::uint64_t bits_of(T v) noexcept {
  std::uint64_t b = 0;
  __builtin_memcpy(&b, &v, sizeof v);
  return b;
}
template <class T>
address_wait waits_for(const std::atomic<T>& a, T old) noexcept {
  static_assert(std::atomic<T>::is_always_lock_free && sizeof(T) <= sizeof(std::uint64_t));
  return {&a,
          [](const void* address, std::uint64_t expected) noexcept {
            return bits_of(static_cast<const std::atomic<T>*>(address)->load(std::memory_order_acquire)) != expected;
          },
          bits_of(old)};
}

inline auto async_wait_until_ns(const address_wait& wait, std::int64_t deadline_ns) {
  return timed_awaiter(deadline_ns,
                       [wait](async_wait& w, async_timer* t, std::int64_t d) { return wait.begin_wait(w, t, d); });
}

}  // namespace detail

template <class T>
void wait_on_address(const std::atomic<T>& a, std::type_identity_t<T> old) {
  detail::waits_for<T>(a, old).wait_until_ns(detail::never);
}
// False when the time is up.
template <class T, class Rep, class Period>
bool wait_on_address_for(const std::atomic<T>& a, std::type_identity_t<T> old, std::chrono::duration<Rep, Period> d) {
  return detail::waits_for<T>(a, old).wait_until_ns(detail::deadline_after(d));
}
template <class T, class Clock, class Duration>
bool wait_on_address_until(const std::atomic<T>& a, std::type_identity_t<T> old,
                           std::chrono::time_point<Clock, Duration> t) {
  return detail::waits_for<T>(a, old).wait_until_ns(detail::deadline_at(t));
}

// For tasks: co_await them.
template <class T>
auto async_wait_on_address(const std::atomic<T>& a, std::type_identity_t<T> old) {
  return detail::awaiter([wait = detail::waits_for<T>(a, old)](detail::async_wait& w, detail::async_timer* t) {
    return wait.begin_wait(w, t, detail::never);
  });
}
template <class T, class Rep, class Period>
auto async_wait_on_address_for(const std::atomic<T>& a, std::type_identity_t<T> old,
                               std::chrono::duration<Rep, Period> d) {
  return detail::async_wait_until_ns(detail::waits_for<T>(a, old), detail::deadline_after(d));
}
template <class T, class Clock, class Duration>
auto async_wait_on_address_until(const std::atomic<T>& a, std::type_identity_t<T> old,
                                 std::chrono::time_point<Clock, Duration> t) {
  return detail::async_wait_until_ns(detail::waits_for<T>(a, old), detail::deadline_at(t));
}

// After the atomic has been changed.
template <class T>
void wake_by_address_one(const std::atomic<T>& a) noexcept {
  detail::wake_by_address(&a, false);
}
template <class T>
void wake_by_address_all(const std::atomic<T>& a) noexcept {
  detail::wake_by_address(&a, true);
}

}  // namespace thrum
