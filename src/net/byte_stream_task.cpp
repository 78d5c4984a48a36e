// The twins of byte_stream.cpp's calls for tasks.
#include <cstddef>
#include <functional>
#include <system_error>

#include <thrum/detail/transfer.hpp>
#include <thrum/net/byte_stream.hpp>

#include "net/byte_stream_system.hpp"
#include "net/socket_operation.hpp"

namespace thrum::net {

task<std::size_t> byte_stream::async_read_some(std::span<std::byte> buffer, std::error_code& error) {
  receive_call receive{*this, buffer};
  const long n = co_await async_perform(direction::reading, error, std::ref(receive));
  co_return end_read(receive, n);
}

task<std::size_t> byte_stream::async_write_some(std::span<const std::byte> data, std::error_code& error) {
  if (!may_write(error)) co_return 0;
  const long n = co_await async_perform(direction::writing, error, send_call{fd_, data});
  co_return n < 0 ? 0 : static_cast<std::size_t>(n);
}

task<void> byte_stream::async_wait_readable(std::error_code& error) {
  if (!async_begin(error) || may_have_bytes(error)) co_return;
  readiness wait{*this, true, error};
  (void)co_await wait;
}

task<void> byte_stream::async_wait_readable() {
  std::error_code error;  // Not by the other one: streams that wait here are many, and each frame counts.
  if (async_begin(error) && !may_have_bytes(error)) {
    readiness wait{*this, true, error};
    (void)co_await wait;
  }
  detail::raise_if(error, "thrum: wait_readable");
}

task<void> byte_stream::async_wait_writable(std::error_code& error) {
  if (!async_begin(error) || !known_not_ready(direction::writing)) co_return;
  readiness wait{*this, false, error};
  (void)co_await wait;
}

task<void> byte_stream::async_wait_writable() {
  std::error_code error;
  co_await async_wait_writable(error);
  detail::raise_if(error, "thrum: wait_writable");
}

}  // namespace thrum::net
