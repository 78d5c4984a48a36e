// What tcp_listener and unix_listener share: how connections are accepted when descriptors run out.
#pragma once

#include <system_error>

#include <thrum/net/socket.hpp>

namespace thrum::net {

class listening_socket : public socket {
 public:
  listening_socket() noexcept = default;

 protected:
  listening_socket(int fd, bool waits_for_descriptors) noexcept : socket(fd), waits_(waits_for_descriptors) {}

  // The descriptor of the next connection, or -1 with `error`.
  long accept_next(std::error_code& error);
  task<long> async_accept_next(std::error_code& error);

 private:
  bool waits_ = false;  // For a free descriptor. Constant after construction.
};

}  // namespace thrum::net
