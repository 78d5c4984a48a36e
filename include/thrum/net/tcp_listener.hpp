// A TCP socket that accepts connections.
//
//   auto listener = thrum::net::tcp_listener::bind("127.0.0.1:7777");     // port 0: the system chooses
//   for (;;) thrum::go([c = listener.accept()]() mutable { serve(c); });
//
// accept() suspends and is a cancellation point; one listener may be used by several fibers.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>

#include <thrum/net/listening_socket.hpp>
#include <thrum/net/tcp_stream.hpp>

namespace thrum::net {

struct listen_options {
  int backlog = 4096;         // Connections that the kernel completes before they are accepted.
  bool reuse_address = true;  // Allows binding while old connections linger.
  bool reuse_port = false;    // Several listeners on one port share its connections.
  // When the process or the system has no descriptor left, accept() waits until there is one: it tries again whenever
  // this process closes a socket, and after pauses of 1 ms to 100 ms. False: it fails with errc::too_many_files_open.
  bool wait_for_descriptors = true;
};

class tcp_listener : public listening_socket {
 public:
  tcp_listener() noexcept = default;

  // `address` is numeric: "127.0.0.1:80", "[::]:80", or ":80" for every interface. Throws std::system_error, such as
  // errc::address_in_use.
  static tcp_listener bind(std::string_view address, const listen_options& options = {});
  static tcp_listener bind(std::string_view address, const listen_options& options, std::error_code& error);

  // Takes over a listening descriptor, say from a service manager or an older process, and makes it non-blocking.
  // Throws std::system_error: errc::invalid_argument when it does not listen for TCP.
  static tcp_listener adopt(int fd);

  // The next connection. Throws std::system_error.
  tcp_stream accept();
  tcp_stream accept(std::error_code& error);
  // For tasks, with <thrum/task.hpp>: co_await them. Throw or report as accept() does.
  task<tcp_stream> async_accept();
  task<tcp_stream> async_accept(std::error_code& error);

  std::uint16_t local_port() const;
  std::string local_address() const;

 private:
  tcp_listener(int fd, bool waits_for_descriptors) noexcept : listening_socket(fd, waits_for_descriptors) {}
};

}  // namespace thrum::net
