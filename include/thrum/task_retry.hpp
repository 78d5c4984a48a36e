// Trying again in tasks: retry()'s twin, with its options (retry.hpp).
//
//   auto page = co_await thrum::async_retry({.attempts = 4, .first_delay = 50ms}, [&] { return fetch(url); });
//
// Here fetch(url) makes a task, a new one for each attempt.
#pragma once

#include <exception>
#include <functional>
#include <type_traits>

#include <thrum/retry.hpp>
#include <thrum/task.hpp>

namespace thrum {

// For tasks: co_await it. Gives what f()'s task gives. `again` is called, and must not wait, with what that threw, if
// another attempt is left. f and `again` are kept; a pause is a cancellation point. Throws as retry() does.
template <detail::makes_task F, class Predicate = detail::always>
auto async_retry(retry_options options, F f, Predicate again = {}) -> std::invoke_result_t<F&> {
  detail::backoff tries(options);
  for (;;) {
    try {
      auto attempt = std::invoke(f);
      co_return co_await std::move(attempt);
    } catch (const std::exception& e) {
      if (!tries.another_attempt() || !again(e)) throw;
    }
    co_await async_sleep_for(tries.next_pause());  // Outside the handler: the exception need not be kept meanwhile.
  }
}

}  // namespace thrum
