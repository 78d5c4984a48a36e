// A function in a fiber of its own, with a future for its result.
//
//   thrum::future<int> f = thrum::async(compute, 42);
//   use(f.get());
//
// The fiber is in no scope: nobody waits for it, and nothing but the end of the runtime cancels it. Prefer
// scope::async(), which leaves no fiber behind.
#pragma once

#include <memory>
#include <source_location>
#include <type_traits>
#include <utility>

#include <thrum/fiber.hpp>
#include <thrum/future.hpp>

namespace thrum {

// Starts f(args...), with copies of the arguments, in the calling fiber's runtime. Does not suspend; not a cancellation
// point. What it throws arrives in the future's get(); broken_promise if it was cancelled. Unlike std's future, a
// dropped one does not wait: the fiber goes on alone. Throws what go() throws.
template <class F, class... Args>
requires std::is_invocable_v<std::decay_t<F>, std::decay_t<Args>...>
auto async(F&& f, Args&&... args) {
  using call = detail::bound_call<std::decay_t<F>, std::decay_t<Args>...>;
  using result = std::invoke_result_t<std::decay_t<F>, std::decay_t<Args>...>;
  auto state = std::make_shared<detail::future_state<result>>();
  detail::launch(
      nullptr, {},
      [state, run = call{std::forward<F>(f), {std::forward<Args>(args)...}}]() mutable { detail::fulfil(*state, run); },
      std::source_location::current(), true);
  return future<result>(std::move(state));
}

}  // namespace thrum
