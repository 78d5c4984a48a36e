// A Unix socket that accepts connections.
//
//   auto listener = thrum::net::unix_listener::bind("/run/service.sock", {.replace_stale = true});
//   for (;;) thrum::go([c = listener.accept()]() mutable { serve(c); });
//
// accept() suspends and is a cancellation point; one listener may be used by several fibers. The file is removed when
// the listener closes, if it is still its own. In a simulation names are each host's own, and the files on its disk.
#pragma once

#include <string>
#include <string_view>
#include <system_error>

#include <thrum/net/listening_socket.hpp>
#include <thrum/net/socket_file.hpp>
#include <thrum/net/unix_stream.hpp>

namespace thrum::net {

struct unix_listen_options {
  int backlog = 4096;  // Connections that wait to be accepted.
  // Removes a socket's file that nobody listens on any more, as a process leaves it that was killed. Of two processes
  // that do so at the same moment, one may remove the file of the other.
  bool replace_stale = false;
  bool wait_for_descriptors = true;  // As in listen_options.
};

class unix_listener : public listening_socket {
 public:
  unix_listener() noexcept = default;
  unix_listener(unix_listener&&) noexcept = default;
  unix_listener& operator=(unix_listener&&) noexcept = default;
  ~unix_listener() { close(); }

  // `name` is a path or, with a leading '@', an abstract name. Throws errc::address_in_use whatever the file is that is
  // there, unless it is stale and is to be replaced. The file's permissions are those that the umask leaves.
  static unix_listener bind(std::string_view name, const unix_listen_options& options = {});
  static unix_listener bind(std::string_view name, const unix_listen_options& options, std::error_code& error);

  // Takes over a listening descriptor, say from a service manager or an older process, and makes it non-blocking; the
  // file stays whose it was. Throws std::system_error: errc::invalid_argument when it is no such listener.
  static unix_listener adopt(int fd);

  // The next connection. Throws std::system_error.
  unix_stream accept();
  unix_stream accept(std::error_code& error);
  // For tasks, with <thrum/task.hpp>: co_await them. Throw or report as accept() does.
  task<unix_stream> async_accept();
  task<unix_stream> async_accept(std::error_code& error);

  // As socket::close(), and removes the file.
  void close() noexcept;

  std::string local_address() const;

 private:
  unix_listener(int fd, bool waits_for_descriptors) noexcept : listening_socket(fd, waits_for_descriptors) {}

  socket_file file_;
};

}  // namespace thrum::net
