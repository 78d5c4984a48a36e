// Beginning and ending of calls that move bytes through any stream.
#include <thrum/detail/transfer.hpp>

#include <atomic>
#include <system_error>

#include <thrum/cancelled.hpp>

#include "sched/task_control.hpp"
#include "sched/task_wait.hpp"
#include "sched/wait.hpp"

namespace thrum::detail {

bool begin_transfer(std::error_code& error) noexcept {
  error.clear();
  if (sched::begin_call().cancelled) error = std::make_error_code(std::errc::operation_canceled);
  return !error;
}

bool async_begin_transfer(std::error_code& error) {
  error.clear();
  auto& self = sched::begin_task_call(sched::cancellation::reported);
  if (self.cancel_pending.load(std::memory_order_acquire)) error = std::make_error_code(std::errc::operation_canceled);
  return !error;
}

void raise_transfer(const std::error_code& error, const char* what) {
  if (error == std::errc::operation_canceled) throw cancelled{};
  throw std::system_error(error, what);
}

}  // namespace thrum::detail
