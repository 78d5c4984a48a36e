// Reading into and writing from several buffers, with the twins for tasks.
#include <cstddef>
#include <system_error>

#include <thrum/net/buffers.hpp>
#include <thrum/net/byte_stream.hpp>

#include "net/socket_operation.hpp"
#include "net/stream_loops.hpp"
#include "net/vectored.hpp"

namespace thrum::net {

std::size_t byte_stream::read_some(mutable_buffers buffers, std::error_code& error) {
  const long n = perform(direction::reading, error, receive_several_call{buffers.list()});
  return n < 0 ? 0 : static_cast<std::size_t>(n);
}

std::size_t byte_stream::read_some(mutable_buffers buffers) {
  return or_throw("thrum: read", [&](auto& error) { return read_some(buffers, error); });
}

std::size_t byte_stream::write_some(const_buffers data, std::error_code& error) {
  if (!may_write(error)) return 0;
  const position start(data);
  const long n = perform(direction::writing, error, send_several_call{start});
  return n < 0 ? 0 : static_cast<std::size_t>(n);
}

std::size_t byte_stream::write_some(const_buffers data) {
  return or_throw("thrum: write", [&](auto& error) { return write_some(data, error); });
}

std::size_t byte_stream::write_all(const_buffers data, std::error_code& error) {
  std::size_t done = 0;
  position at(data);
  error.clear();
  while (!at.at_end() && may_write(error)) {
    const long n = perform(direction::writing, error, send_several_call{at});
    if (n < 0) break;
    at.advance(static_cast<std::size_t>(n));
    done += static_cast<std::size_t>(n);
  }
  if (error && done > 0) break_off();  // As with one buffer.
  return done;
}

void byte_stream::write_all(const_buffers data) {
  or_throw("thrum: write_all", [&](auto& error) { write_all(data, error); });
}

// ---------------------------------------------------------------------------------------------------------------

task<std::size_t> byte_stream::async_read_some(mutable_buffers buffers, std::error_code& error) {
  const long n = co_await async_perform(direction::reading, error, receive_several_call{buffers.list()});
  co_return n < 0 ? 0 : static_cast<std::size_t>(n);
}

task<std::size_t> byte_stream::async_read_some(mutable_buffers buffers) {
  std::error_code error;
  const auto n = co_await async_read_some(buffers, error);
  detail::raise_if(error, "thrum: read");
  co_return n;
}

task<std::size_t> byte_stream::async_write_some(const_buffers data, std::error_code& error) {
  if (!may_write(error)) co_return 0;
  const position start(data);
  const long n = co_await async_perform(direction::writing, error, send_several_call{start});
  co_return n < 0 ? 0 : static_cast<std::size_t>(n);
}

task<std::size_t> byte_stream::async_write_some(const_buffers data) {
  std::error_code error;
  const auto n = co_await async_write_some(data, error);
  detail::raise_if(error, "thrum: write");
  co_return n;
}

task<std::size_t> byte_stream::async_write_all(const_buffers data, std::error_code& error) {
  std::size_t done = 0;
  position at(data);
  error.clear();
  while (!at.at_end() && may_write(error)) {
    const long n = co_await async_perform(direction::writing, error, send_several_call{at});
    if (n < 0) break;
    at.advance(static_cast<std::size_t>(n));
    done += static_cast<std::size_t>(n);
  }
  if (error && done > 0) break_off();  // As with one buffer.
  co_return done;
}

task<void> byte_stream::async_write_all(const_buffers data) {
  std::error_code error;
  (void)co_await async_write_all(data, error);
  detail::raise_if(error, "thrum: write_all");
}

}  // namespace thrum::net
