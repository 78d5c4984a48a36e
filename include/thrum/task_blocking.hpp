// Calls that block, for tasks: blocking()'s twin (blocking.hpp).
//
//   auto row = co_await thrum::async_blocking([&] { return legacy_query(db, key); });
//
// GCC 12 destroys a lambda twice that is written inside the co_await and captures what has a destructor: name it first.
#pragma once

#include <type_traits>
#include <utility>

#include <thrum/blocking.hpp>
#include <thrum/detail/async.hpp>
#include <thrum/task.hpp>

namespace thrum {
namespace detail {

// Begin: false when the task has to be suspended. End: what became of the call.
bool begin_offload(offload_pool& pool, offloaded& call, async_wait& w, offload_end& refused);
bool begin_waiting_for_offloaded(offloaded& call, async_wait& w);
offload_end end_offload(offload_pool& pool, offloaded& call, async_wait& w) noexcept;

// Puts the call into the queue, unless the task is cancelled already or there is no room, and waits. `still_runs`:
// cancelled meanwhile, but too late; the end is to be awaited.
struct [[nodiscard]] offload_start : suspends_task {
  offload_start(offload_pool& p, offloaded& c) noexcept : pool(p), call(c) {}
  bool await_ready() { return begin_offload(pool, call, wait, refused); }
  offload_end await_resume() noexcept { return refused != offload_end::done ? refused : end_offload(pool, call, wait); }

  offload_pool& pool;
  offloaded& call;
  async_wait wait{};
  offload_end refused = offload_end::done;  // Not queued, for this reason; unless it is `done`.
};
struct [[nodiscard]] offload_rest : suspends_task {
  offload_rest(offload_pool& p, offloaded& c) noexcept : pool(p), call(c) {}
  bool await_ready() { return begin_waiting_for_offloaded(call, wait); }
  offload_end await_resume() noexcept { return end_offload(pool, call, wait); }

  offload_pool& pool;
  offloaded& call;
  async_wait wait{};
};

template <class F>
task<std::invoke_result_t<F&>> async_blocking_in(offload_pool& pool, F f) {
  offloaded_call<F> call(f);
  auto how = co_await offload_start(pool, call);
  if (how == offload_end::still_runs) how = co_await offload_rest(pool, call);
  check_offload(how);
  co_return call.take();
}

}  // namespace detail

// co_await it. f is kept until it has run. Gives, throws and is cancelled as blocking() does; a task has values for
// results, no references.
template <class F>
task<std::invoke_result_t<F&>> async_blocking(blocking_pool& pool, F f) {
  return detail::async_blocking_in(detail::blocking_pool_access::of(pool), std::move(f));
}
template <class F>
task<std::invoke_result_t<F&>> async_blocking(F f) {
  return detail::async_blocking_in(detail::the_offload_pool(), std::move(f));
}

}  // namespace thrum
