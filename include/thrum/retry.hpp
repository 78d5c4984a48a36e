// Trying again what failed, with growing pauses.
//
//   auto page = thrum::retry({.attempts = 4, .first_delay = 50ms}, [&] { return fetch(url); });
//   thrum::retry({}, send_report, [](const std::exception& e) { return is_temporary(e); });
//
// What f throws is thrown on when it is no std::exception, `cancelled` above all; when the predicate says no; and after
// the last attempt. Between two attempts retry() sleeps: it suspends, and is a cancellation point. On plain threads the
// thread sleeps; tasks have async_retry() in task_retry.hpp. A limit for each attempt is a scope in f (with_scope), for
// all of them one around retry().
//
// Each pause is `factor` times the one before, up to `max_delay`; of each the share `jitter` is random, so that those
// who failed together do not come back together. (jitter = 1 is the "full jitter" of AWS's "Exponential Backoff And
// Jitter", Brooker 2015.)
#pragma once

#include <chrono>
#include <exception>
#include <functional>
#include <utility>

namespace thrum {

struct retry_options {
  unsigned attempts = 5;  // In all; at least one.
  std::chrono::nanoseconds first_delay = std::chrono::milliseconds(100);
  double factor = 2;  // At least one.
  std::chrono::nanoseconds max_delay = std::chrono::seconds(10);
  double jitter = 0.5;  // 0 to 1: a pause is between (1 - jitter) times its length and its length.
};

namespace detail {

class backoff {
 public:
  explicit backoff(const retry_options& options);  // Throws std::invalid_argument.

  bool another_attempt() noexcept { return --attempts_left_ > 0; }
  std::chrono::nanoseconds next_pause() noexcept;
  void pause();  // Throws cancelled.

 private:
  const retry_options options_;
  unsigned attempts_left_;
  double delay_ns_;
};

struct always {
  bool operator()(const std::exception&) const noexcept { return true; }
};

}  // namespace detail

// Returns what f() returns. `again` is called with what f threw, if another attempt is left, and tells whether to make
// it. Throws std::invalid_argument for options that are out of their range.
template <class F, class Predicate = detail::always>
auto retry(const retry_options& options, F&& f, Predicate again = {}) {
  for (detail::backoff tries(options);;) {
    try {
      return std::invoke(f);
    } catch (const std::exception& e) {
      if (!tries.another_attempt() || !again(e)) throw;
    }
    tries.pause();  // Outside the handler: the exception need not be kept meanwhile.
  }
}

}  // namespace thrum
