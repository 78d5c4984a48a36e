// The four forms in which a system call is offered: for fibers and for tasks, reporting errors or throwing them.
#pragma once

#include <atomic>
#include <concepts>
#include <optional>
#include <system_error>
#include <type_traits>
#include <utility>

#include <thrum/blocking.hpp>
#include <thrum/cancelled.hpp>
#include <thrum/detail/async.hpp>
#include <thrum/task.hpp>
#include <thrum/task_blocking.hpp>

#include "blocking/call_ring.hpp"
#include "sched/task_wait.hpp"

namespace thrum::files {

template <class Call>
using result_of = std::invoke_result_t<const Call&, std::error_code&>;

inline void note_end(detail::offload_end how, std::error_code& error) noexcept {
  if (how == detail::offload_end::cancelled) error = std::make_error_code(std::errc::operation_canceled);
  if (how == detail::offload_end::no_thread) error = std::make_error_code(std::errc::resource_unavailable_try_again);
}

inline void throw_error(const std::error_code& error, const char* what) {
  if (error == std::errc::operation_canceled) throw cancelled{};
  if (error) throw std::system_error(error, what);
}

// Has something that can be had without a thread of the pool.
template <class Call>
concept may_be_immediate = requires(Call c) {
  { c.at_once() } -> std::same_as<std::optional<result_of<Call>>>;
};

// Can be made by the kernel in operations, as an object that is told what came of each (blocking/call_ring.hpp).
template <class Call>
concept has_operations = requires(Call& c, int result, std::error_code& error) {
  { c.may_be_made_by_kernel() } -> std::same_as<bool>;
  { c.operation() } -> std::same_as<detail::ring_operation>;
  { c.settle(result, error) } -> std::same_as<bool>;  // True: another operation is to follow.
  { c.result() } -> std::same_as<result_of<Call>>;
};

template <class Call>
struct maker {
  Call& call;
  std::error_code& error;
  result_of<Call> operator()() const { return call(error); }
};

// A call on its way to a thread of the pool, or to the kernel.
template <class Call>
class call_elsewhere : maker<Call>, public detail::offloaded_call<maker<Call>> {
  using by_thread = detail::offloaded_call<maker<Call>>;
  static constexpr bool may_be_operations = has_operations<Call>;

 public:
  call_elsewhere(Call& c, std::error_code& error) noexcept
      : maker<Call>{c, error}, by_thread(static_cast<maker<Call>&>(*this)), by_kernel_(*this) {
    if constexpr (may_be_operations)
      if (c.may_be_made_by_kernel()) this->request = &by_kernel_;
  }

  // Once, when it has been made.
  result_of<Call> take() {
    if constexpr (may_be_operations)
      if (by_kernel_.was_made) return this->call.result();
    return by_thread::take();
  }

 private:
  struct operations : detail::ring_request {
    explicit operations(call_elsewhere& c) noexcept
        : ring_request{.settle = &settle_one, .call = c, .operation = c.maker<Call>::call.operation()}, whole(c) {}
    static bool settle_one(ring_request& r, int result) noexcept {
      call_elsewhere& c = static_cast<operations&>(r).whole;
      Call& made = c.maker<Call>::call;
      if (!made.settle(result, c.error)) return false;
      r.operation = made.operation();
      return true;
    }
    call_elsewhere& whole;
  };
  struct none {
    explicit none(call_elsewhere&) noexcept {}
  };
  [[no_unique_address]] std::conditional_t<may_be_operations, operations, none> by_kernel_;
};

template <class Call>
result_of<Call> report(std::error_code& error, Call call) {
  error.clear();
  if constexpr (may_be_immediate<Call>) {
    if (sched::begin_call().cancelled) {
      note_end(detail::offload_end::cancelled, error);
      return result_of<Call>();
    }
    if (auto now = call.at_once()) return std::move(*now);
  }
  call_elsewhere<Call> c(call, error);
  const auto how = detail::offload(detail::the_offload_pool(), c);
  note_end(how, error);
  if (how == detail::offload_end::done) return c.take();
  return result_of<Call>();
}

// The same attempt in a task. It gives way when it is time, as any call.
template <class Call>
struct [[nodiscard]] immediate_part : detail::suspends_task {
  explicit immediate_part(Call& c) noexcept : call(c) {}
  bool await_ready() {
    const auto& t = sched::begin_task_call(sched::cancellation::reported);
    if (!t.cancel_pending.load(std::memory_order_acquire)) result = call.at_once();
    return sched::go_on();
  }
  std::optional<result_of<Call>> await_resume() noexcept { return std::move(result); }

  Call& call;
  std::optional<result_of<Call>> result;
};

template <class Call>
result_of<Call> demand(const char* what, Call call) {
  std::error_code error;
  if constexpr (std::is_void_v<result_of<Call>>) {
    report(error, std::move(call));
    throw_error(error, what);
  } else {
    auto result = report(error, std::move(call));
    throw_error(error, what);
    return result;
  }
}

// The call is kept in the coroutine's frame.
template <class Call>
task<result_of<Call>> async_report(std::error_code& error, Call call) {
  error.clear();
  if constexpr (may_be_immediate<Call>) {
    auto now = co_await immediate_part(call);
    if (now) co_return std::move(*now);
  }
  call_elsewhere<Call> c(call, error);
  auto& pool = detail::the_offload_pool();
  auto how = co_await detail::offload_start(pool, c);
  if (how == detail::offload_end::still_runs) how = co_await detail::offload_rest(pool, c);
  note_end(how, error);
  if constexpr (std::is_void_v<result_of<Call>>) {
    if (how == detail::offload_end::done) c.take();
  } else {
    if (how == detail::offload_end::done) co_return c.take();
    co_return result_of<Call>();
  }
}

template <class Call>
task<result_of<Call>> async_demand(const char* what, Call call) {
  std::error_code error;
  auto reporting = async_report(error, std::move(call));
  if constexpr (std::is_void_v<result_of<Call>>) {
    co_await std::move(reporting);
    throw_error(error, what);
  } else {
    auto result = co_await std::move(reporting);
    throw_error(error, what);
    co_return result;
  }
}

}  // namespace thrum::files
