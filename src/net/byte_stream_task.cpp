// The twins of byte_stream.cpp's calls for tasks.
#include <cerrno>
#include <cstddef>
#include <span>
#include <system_error>

#include <thrum/detail/transfer.hpp>
#include <thrum/net/byte_stream.hpp>

#include "net/byte_stream_system.hpp"
#include "net/socket_operation.hpp"

namespace thrum::net {

// The loops of reading and writing are written out: connections that wait in them are many, and each frame counts.

task<std::size_t> byte_stream::async_read_some(std::span<std::byte> buffer, std::error_code& error) {
  async_operation receiving{*this, direction::reading, receive_call{*this, buffer}};
  while (!co_await receiving) {
  }
  report(failure_in(receiving.result), error);
  co_return bytes_in(receiving.result);
}

task<std::size_t> byte_stream::async_read_some(std::span<std::byte> buffer) {
  async_operation receiving{*this, direction::reading, receive_call{*this, buffer}};
  while (!co_await receiving) {
  }
  if (receiving.result < 0) raise(failure_in(receiving.result), "thrum: read");
  co_return bytes_in(receiving.result);
}

task<std::size_t> byte_stream::async_write_some(std::span<const std::byte> data, std::error_code& error) {
  if (!may_write(error)) co_return 0;
  async_operation sending{*this, direction::writing, send_call{data}};
  while (!co_await sending) {
  }
  report(failure_in(sending.result), error);
  co_return bytes_in(sending.result);
}

task<std::size_t> byte_stream::async_write_some(std::span<const std::byte> data) {
  std::error_code error;
  const auto n = co_await async_write_some(data, error);
  detail::raise_if(error, "thrum: write");
  co_return n;
}

task<std::size_t> byte_stream::async_write_all(std::span<const std::byte> data, std::error_code& error) {
  error.clear();
  if (data.empty() || !may_write(error)) co_return 0;
  async_operation sending{*this, direction::writing, send_all_call{data}};
  while (!co_await sending) {
  }
  report(end_send_all(sending.attempt, sending.result), error);
  co_return sending.attempt.done;
}

task<void> byte_stream::async_write_all(std::span<const std::byte> data) {
  if (data.empty()) co_return;
  if (broken_) raise(EPIPE, "thrum: write_all");
  async_operation sending{*this, direction::writing, send_all_call{data}};
  while (!co_await sending) {
  }
  const int failure = end_send_all(sending.attempt, sending.result);
  if (failure != 0) raise(failure, "thrum: write_all");
}

task<void> byte_stream::async_wait_readable(std::error_code& error) {
  if (!async_begin(error) || may_have_bytes(error)) co_return;
  readiness wait{*this, direction::reading};
  report(co_await wait, error);
}

task<void> byte_stream::async_wait_readable() {
  std::error_code error;
  if (async_begin(error) && !may_have_bytes(error)) {
    readiness wait{*this, direction::reading};
    report(co_await wait, error);
  }
  detail::raise_if(error, "thrum: wait_readable");
}

task<void> byte_stream::async_wait_writable(std::error_code& error) {
  if (!async_begin(error) || !known_not_ready(direction::writing)) co_return;
  readiness wait{*this, direction::writing};
  report(co_await wait, error);
}

task<void> byte_stream::async_wait_writable() {
  std::error_code error;
  co_await async_wait_writable(error);
  detail::raise_if(error, "thrum: wait_writable");
}

}  // namespace thrum::net
