// A connection between processes of one machine, which descriptors can be sent through.
//
//   auto c = thrum::net::unix_stream::connect("/run/service.sock");     // "@service": an abstract name
//   auto [mine, yours] = thrum::net::unix_stream::pair();
//
// Reading and writing are in byte_stream.hpp, whose rules about suspending, cancellation and errors hold here too.
// In a simulation they work within a host.
#pragma once

#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <thrum/net/byte_stream.hpp>
#include <thrum/net/descriptor.hpp>

namespace thrum::net {

class unix_stream : public byte_stream {
 public:
  using plain_descriptor = unix_stream;
  unix_stream() noexcept = default;

  // `name` is the path of a socket's file or, with a leading '@', an abstract name. Throws errc::filename_too_long
  // beyond 107 bytes, errc::invalid_argument when there is none. While the listener's queue is full it tries again
  // after pauses of 1 ms to 100 ms, since the kernel does not tell when there is room.
  static unix_stream connect(std::string_view name, std::chrono::nanoseconds timeout = std::chrono::nanoseconds(0));
  static unix_stream connect(std::string_view name, std::chrono::nanoseconds timeout, std::error_code& error);

  // Two ends of one connection, without a name. Does not suspend.
  static std::pair<unix_stream, unix_stream> pair();
  static std::pair<unix_stream, unix_stream> pair(std::error_code& error);

  // Takes over a connected descriptor and makes it non-blocking.
  static unix_stream adopt(int fd);

  // Writes all of `data`, as write_all() does, and sends a copy of the descriptor along with its first byte; the
  // caller's stays open. Without data it fails with errc::invalid_argument.
  void send_descriptor(int fd, std::span<const std::byte> data);
  std::size_t send_descriptor(int fd, std::span<const std::byte> data, std::error_code& error);

  // Reads as read_some() does, and also takes the descriptor that came along with these bytes; `into` is closed first,
  // and stays so when none came. What is received is closed by exec. Fails, after having read the bytes, with
  // errc::message_size when several came along and errc::too_many_files_open when there was no room for it: what did
  // come is closed. (read_some() closes descriptors that it meets.)
  std::size_t receive_descriptor(std::span<std::byte> buffer, descriptor& into);
  std::size_t receive_descriptor(std::span<std::byte> buffer, descriptor& into, std::error_code& error);

  // For tasks, with <thrum/task.hpp>: co_await them. Buffers, the stream and the error_code must outlive the call.
  static task<unix_stream> async_connect(std::string name, std::chrono::nanoseconds timeout = {});
  static task<unix_stream> async_connect(std::string name, std::chrono::nanoseconds timeout, std::error_code& error);
  task<void> async_send_descriptor(int fd, std::span<const std::byte> data);
  task<std::size_t> async_send_descriptor(int fd, std::span<const std::byte> data, std::error_code& error);
  task<std::size_t> async_receive_descriptor(std::span<std::byte> buffer, descriptor& into);
  task<std::size_t> async_receive_descriptor(std::span<std::byte> buffer, descriptor& into, std::error_code& error);

  // As for connect(); empty where an end has no name.
  std::string local_address() const;
  std::string remote_address() const;

 private:
  friend class unix_listener;
  explicit unix_stream(int fd) noexcept : byte_stream(fd, short_reads_leave_bytes{}) {}
};

}  // namespace thrum::net
