// Numeric socket addresses as text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>

#include <sys/socket.h>

namespace thrum::net {

struct address {
  sockaddr_storage storage{};
  socklen_t length = 0;

  const sockaddr* get() const noexcept { return reinterpret_cast<const sockaddr*>(&storage); }
  int family() const noexcept { return storage.ss_family; }
  std::uint16_t port() const noexcept;
  void set_port(std::uint16_t number) noexcept;
};

// "127.0.0.1:80", "[::1]:80", or ":80" for every interface. Anything else sets errc::invalid_argument.
address parse_address(std::string_view text, std::error_code& error);
std::string to_string(const address& a);

// Of a socket's own end, or its peer's. Empty when there is none.
std::string local_address_of(int fd);
std::string remote_address_of(int fd);

}  // namespace thrum::net
