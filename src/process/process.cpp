// A process as its owner sees it.
#include <thrum/process.hpp>

#include <csignal>
#include <utility>

#include "process/child.hpp"

namespace thrum {
namespace {

[[noreturn]] void raise_process(const std::error_code& error, const char* what) {
  if (error == std::errc::operation_canceled) throw cancelled{};
  throw std::system_error(error, what);
}

std::error_code no_child() noexcept { return std::make_error_code(std::errc::no_child_process); }

bool time_is_up(const std::error_code& error) noexcept { return error == std::errc::timed_out; }

exit_status reaped(detail::child& c) noexcept {
  c.reap();
  return c.status();
}

// The end of terminate(): nobody of the group is left.
exit_status finished(detail::child& c) noexcept {
  c.send_to_all(SIGKILL);
  return reaped(c);
}

}  // namespace

process::process() noexcept = default;
process::process(process&&) noexcept = default;
process& process::operator=(process&&) noexcept = default;
process::~process() = default;

int process::id() const noexcept { return child_ ? child_->id() : 0; }
int process::native_handle() const noexcept { return child_ ? child_->native_handle() : -1; }

exit_status process::wait(std::error_code& error) {
  return wait_until_ns(detail::never, error).value_or(exit_status());
}

exit_status process::wait() {
  std::error_code error;
  const auto s = wait(error);
  if (error) raise_process(error, "thrum: cannot wait for the process");
  return s;
}

std::optional<exit_status> process::wait_until_ns(std::int64_t deadline_ns, std::error_code& error) {
  error = no_child();
  if (!child_) return {};
  if (child_->wait_for_end(deadline_ns, error)) return reaped(*child_);
  if (time_is_up(error)) error.clear();
  return {};
}

std::optional<exit_status> process::wait_until_ns(std::int64_t deadline_ns) {
  std::error_code error;
  const auto s = wait_until_ns(deadline_ns, error);
  if (error) raise_process(error, "thrum: cannot wait for the process");
  return s;
}

void process::kill(int signal, std::error_code& error) noexcept {
  error = std::make_error_code(std::errc::no_such_process);
  if (child_) child_->send(signal, error);
}

void process::kill(int signal) {
  std::error_code error;
  kill(signal, error);
  if (error) throw std::system_error(error, "thrum: cannot send a signal to the process");
}

void process::kill_group(int signal, std::error_code& error) noexcept {
  error = std::make_error_code(std::errc::no_such_process);
  if (child_) child_->send_to_group(signal, error);
}

void process::kill_group(int signal) {
  std::error_code error;
  kill_group(signal, error);
  if (error) throw std::system_error(error, "thrum: cannot send a signal to the group");
}

exit_status process::terminate(std::chrono::nanoseconds grace, std::error_code& error) {
  error = no_child();
  if (!child_) return {};
  child_->send_to_all(SIGTERM);
  if (child_->wait_for_end(detail::deadline_after(grace), error)) return finished(*child_);
  child_->send_to_all(SIGKILL);
  if (time_is_up(error) && child_->wait_for_end(detail::never, error)) return finished(*child_);
  return {};
}

exit_status process::terminate(std::chrono::nanoseconds grace) {
  std::error_code error;
  const auto s = terminate(grace, error);
  if (error) raise_process(error, "thrum: cannot terminate the process");
  return s;
}

void process::detach() noexcept {
  if (!child_) return;
  child_->reap();
  if (const int pidfd = child_->release(); pidfd >= 0) detail::reap_later(pidfd);
  child_.reset();
}

detail::select_clause process::describe_exit() {
  if (!child_) throw std::system_error(no_child(), "thrum: select");
  return child_->describe_end();
}

// ---------------------------------------------------------------------------------------------------------------

task<exit_status> process::async_wait(std::error_code& error) {
  error = no_child();
  if (!child_) co_return exit_status();
  const bool ended = co_await child_->async_wait_for_end(detail::never, error);
  co_return ended ? reaped(*child_) : exit_status();
}

task<exit_status> process::async_wait() {
  std::error_code error;
  const auto s = co_await async_wait(error);
  if (error) raise_process(error, "thrum: cannot wait for the process");
  co_return s;
}

task<std::optional<exit_status>> process::async_wait_until_ns(std::int64_t deadline_ns, std::error_code& error) {
  error = no_child();
  if (!child_) co_return std::nullopt;
  const bool ended = co_await child_->async_wait_for_end(deadline_ns, error);
  if (ended) co_return reaped(*child_);
  if (time_is_up(error)) error.clear();
  co_return std::nullopt;
}

task<std::optional<exit_status>> process::async_wait_until_ns(std::int64_t deadline_ns) {
  std::error_code error;
  const auto s = co_await async_wait_until_ns(deadline_ns, error);
  if (error) raise_process(error, "thrum: cannot wait for the process");
  co_return s;
}

task<exit_status> process::async_terminate(std::chrono::nanoseconds grace, std::error_code& error) {
  error = no_child();
  if (!child_) co_return exit_status();
  child_->send_to_all(SIGTERM);
  bool ended = co_await child_->async_wait_for_end(detail::deadline_after(grace), error);
  if (!ended) {
    child_->send_to_all(SIGKILL);
    if (time_is_up(error)) ended = co_await child_->async_wait_for_end(detail::never, error);
  }
  co_return ended ? finished(*child_) : exit_status();
}

task<exit_status> process::async_terminate(std::chrono::nanoseconds grace) {
  std::error_code error;
  const auto s = co_await async_terminate(grace, error);
  if (error) raise_process(error, "thrum: cannot terminate the process");
  co_return s;
}

}  // namespace thrum
