// A TCP connection.
//
//   auto c = thrum::net::tcp_stream::connect("127.0.0.1:7777");
//   c.write_all(std::as_bytes(std::span("hello\n", 6)));
//   std::array<std::byte, 4096> buffer;
//   std::size_t n = c.read_some(buffer);        // 0: the peer has closed
//
// Reading and writing are in byte_stream.hpp. connect() suspends the calling fiber (or blocks the calling thread) and
// is a cancellation point. Errors throw std::system_error; the overload with an error_code reports them instead,
// cancellation included (errc::operation_canceled). Time-outs are errc::timed_out. Nagle's algorithm is switched off.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <system_error>

#include <thrum/net/byte_stream.hpp>
#include <thrum/net/endpoint.hpp>

namespace thrum::net {

class tcp_stream : public byte_stream {
 public:
  using plain_descriptor = tcp_stream;
  tcp_stream() noexcept = default;

  // `address` is numeric: "127.0.0.1:80" or "[::1]:80". Throws errc::invalid_argument when it is not, or is none.
  static tcp_stream connect(const endpoint& address, std::chrono::nanoseconds timeout = std::chrono::nanoseconds(0));
  static tcp_stream connect(const endpoint& address, std::chrono::nanoseconds timeout, std::error_code& error);
  static tcp_stream connect(std::string_view address, std::chrono::nanoseconds timeout = std::chrono::nanoseconds(0));
  static tcp_stream connect(std::string_view address, std::chrono::nanoseconds timeout, std::error_code& error);

  // Takes over a connected descriptor and makes it non-blocking.
  static tcp_stream adopt(int fd);

  // For tasks, with <thrum/task.hpp>: co_await them. The error_code must outlive the call. Throw or report as connect()
  // does.
  static task<tcp_stream> async_connect(endpoint address, std::chrono::nanoseconds timeout = {});
  static task<tcp_stream> async_connect(endpoint address, std::chrono::nanoseconds timeout, std::error_code& error);
  static task<tcp_stream> async_connect(std::string address, std::chrono::nanoseconds timeout = {});
  static task<tcp_stream> async_connect(std::string address, std::chrono::nanoseconds timeout, std::error_code& error);

  std::string local_address() const;
  std::string remote_address() const;

 private:
  friend class tcp_listener;
  explicit tcp_stream(int fd) noexcept : byte_stream(fd) {}
  tcp_stream(int fd, short_reads_leave_bytes how) noexcept : byte_stream(fd, how) {}
  void wait_for_connection(std::error_code& error);
  bool connection_settled(std::error_code& error);
  std::error_code pending_error() const noexcept;
};

}  // namespace thrum::net
