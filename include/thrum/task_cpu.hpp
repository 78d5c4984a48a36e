// Computing in tasks: the twin of this_fiber::maybe_yield() (cpu.hpp).
//
//   for (const auto& row : rows) {
//     sum += expensive(row);
//     co_await thrum::async_maybe_yield();
//   }
#pragma once

#include <thrum/detail/async.hpp>

namespace thrum {

namespace detail {

class [[nodiscard]] maybe_yield_awaiter : public suspends_task {
 public:
  bool await_ready() const;
  void await_resume() const noexcept {}
};

}  // namespace detail

// Lets others run if they have waited for long enough. A cancellation point, also when it does not give way.
inline auto async_maybe_yield() { return detail::maybe_yield_awaiter(); }

}  // namespace thrum
