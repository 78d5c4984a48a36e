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
bool begin_offload(offloaded& call, async_wait& w, bool& refused);
bool begin_waiting_for_offloaded(offloaded& call, async_wait& w);
offload_end end_offload(offloaded& call, async_wait& w) noexcept;

// Puts the call into the queue, unless the task is cancelled already, and waits. `still_runs`: cancelled meanwhile, but
// too late; the end is to be awaited.
struct [[nodiscard]] offload_start : suspends_task {
  explicit offload_start(offloaded& c) noexcept : call(c) {}
  bool await_ready() { return begin_offload(call, wait, refused); }
  offload_end await_resume() noexcept { return refused ? offload_end::cancelled : end_offload(call, wait); }

  offloaded& call;
  async_wait wait{};
  bool refused = false;
};
struct [[nodiscard]] offload_rest : suspends_task {
  explicit offload_rest(offloaded& c) noexcept : call(c) {}
  bool await_ready() { return begin_waiting_for_offloaded(call, wait); }
  offload_end await_resume() noexcept { return end_offload(call, wait); }

  offloaded& call;
  async_wait wait{};
};

}  // namespace detail

// co_await it. f is kept until it has run. Gives, throws and is cancelled as blocking() does; a task has values for
// results, no references.
template <class F>
task<std::invoke_result_t<F&>> async_blocking(F f) {
  detail::offloaded_call<F> call(f);
  auto how = co_await detail::offload_start(call);
  if (how == detail::offload_end::still_runs) how = co_await detail::offload_rest(call);
  detail::check_offload(how);
  co_return call.take();
}

}  // namespace thrum
