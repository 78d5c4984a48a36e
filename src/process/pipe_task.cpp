// The twins of pipe.cpp's calls for tasks.
#include <thrum/detail/transfer.hpp>
#include <thrum/pipe.hpp>

#include "process/pipe_calls.hpp"

namespace thrum::detail {

task<void> pipe_end::async_until_ready(direction d, std::error_code& error) {
  if (!async_begin(error) || ready_now(d, error)) co_return;
  readiness wait{*this, d};
  report(co_await wait, error);
}

}  // namespace thrum::detail

namespace thrum {

task<std::size_t> pipe_reader::async_read_some(std::span<std::byte> buffer, std::error_code& error) {
  const long n = co_await async_perform(direction::reading, error,
                                        transfer<detail::read_call>{*this, direction::reading, {buffer}});
  co_return n < 0 ? 0 : static_cast<std::size_t>(n);
}

task<void> pipe_reader::async_wait_readable(std::error_code& error) {
  return async_until_ready(direction::reading, error);
}

task<void> pipe_reader::async_wait_readable() {
  std::error_code error;
  co_await async_wait_readable(error);
  detail::raise_if(error, "thrum: wait_readable");
}

// ---------------------------------------------------------------------------------------------------------------

task<std::size_t> pipe_writer::async_write_some(std::span<const std::byte> data, std::error_code& error) {
  if (broken_) {
    error = std::make_error_code(std::errc::broken_pipe);
    co_return 0;
  }
  const long n = co_await async_perform(direction::writing, error,
                                        transfer<detail::write_call>{*this, direction::writing, {data}});
  co_return n < 0 ? 0 : static_cast<std::size_t>(n);
}

task<void> pipe_writer::async_wait_writable(std::error_code& error) {
  return async_until_ready(direction::writing, error);
}

task<void> pipe_writer::async_wait_writable() {
  std::error_code error;
  co_await async_wait_writable(error);
  detail::raise_if(error, "thrum: wait_writable");
}

}  // namespace thrum
