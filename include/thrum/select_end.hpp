// The end of a fiber or of a task as a clause of select.
//
//   thrum::select(thrum::on_end(f, [&] { f.join(); }), requests.on_receive(serve));
#pragma once

#include <stdexcept>
#include <utility>

#include <thrum/fiber.hpp>
#include <thrum/select.hpp>

namespace thrum {

namespace detail {

select_clause describe_end(sched::activity* a);  // Throws std::system_error (invalid_argument) when it is null.

struct end_access {
  template <class Handle>
  static select_clause describe(const Handle& h) {
    return describe_end(h.activity());
  }
};

}  // namespace detail

// f() runs once the fiber or task has ended; join() then returns at once. The handle, a fiber or a task_handle, stays
// joinable, and must not be joined by another meanwhile. Throws std::system_error (invalid_argument) when it is not
// joinable.
template <class Handle, class F>
auto on_end(const Handle& h, F f) {
  return detail::condition_clause<F>(detail::end_access::describe(h), std::move(f));
}

}  // namespace thrum
