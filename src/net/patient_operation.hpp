// The loop of operations that may fail for want of something that no event announces: see patience.hpp.
#pragma once

#include <system_error>

#include <thrum/net/socket.hpp>
#include <thrum/task.hpp>

#include "net/patience.hpp"
#include "net/socket_operation.hpp"

namespace thrum::net {

template <class Attempt>
long socket::perform_patiently(direction d, std::error_code& error, Attempt attempt, is_passing passing) {
  long n = perform(d, error, attempt);
  if (n >= 0 || !passing(error)) return n;
  patience p(wait_deadline_ns());
  do {
    p.look();
    n = perform(d, error, attempt);
  } while (passing(error) && pause(p, error));
  return error ? -1 : n;
}

template <class Attempt>
task<long> socket::async_perform_patiently(direction d, std::error_code& error, Attempt attempt, is_passing passing) {
  long n = co_await async_perform(d, error, attempt);
  if (n >= 0 || !passing(error)) co_return n;
  patience p(wait_deadline_ns());
  for (bool again = true; again;) {
    p.look();
    n = co_await async_perform(d, error, attempt);
    again = passing(error);
    if (again) again = co_await async_pause(p, error);
  }
  co_return error ? -1 : n;
}

}  // namespace thrum::net
