// The names of options, and the system's.
#include <thrum/net/options.hpp>

#include <cerrno>
#include <system_error>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <thrum/net/socket.hpp>

#include "net/socket_errors.hpp"
#include "net/system_calls.hpp"

namespace thrum::net {
namespace {

struct system_option {
  int level, name;
};

// Some options have a name for each version of IP.
bool is_v6(int fd) noexcept {
  int family = 0;
  return system::get_option(fd, SOL_SOCKET, SO_DOMAIN, family) == 0 && family == AF_INET6;
}

system_option meaning_of(option_name name, int fd) noexcept {
  switch (name) {
    case option_name::no_delay:
      return {IPPROTO_TCP, TCP_NODELAY};
    case option_name::keep_alive:
      return {SOL_SOCKET, SO_KEEPALIVE};
    case option_name::broadcast:
      return {SOL_SOCKET, SO_BROADCAST};
    case option_name::reset_on_close:
      return {SOL_SOCKET, SO_LINGER};
    case option_name::receive_buffer_size:
      return {SOL_SOCKET, SO_RCVBUF};
    case option_name::send_buffer_size:
      return {SOL_SOCKET, SO_SNDBUF};
    case option_name::multicast_hops:
      return is_v6(fd) ? system_option{IPPROTO_IPV6, IPV6_MULTICAST_HOPS} : system_option{IPPROTO_IP, IP_MULTICAST_TTL};
    case option_name::multicast_loopback:
      return is_v6(fd) ? system_option{IPPROTO_IPV6, IPV6_MULTICAST_LOOP}
                       : system_option{IPPROTO_IP, IP_MULTICAST_LOOP};
  }
  return {-1, -1};
}

}  // namespace

void socket::write_option(option_name name, int value, std::error_code& error) noexcept {
  const auto o = meaning_of(name, native_handle());
  error.clear();
  if ((name == option_name::reset_on_close ? system::set_linger(native_handle(), value != 0)
                                           : system::set_option(native_handle(), o.level, o.name, value)) != 0)
    error = last_error();
}

int socket::read_option(option_name name, std::error_code& error) const noexcept {
  const auto o = meaning_of(name, native_handle());
  int value = 0;
  error.clear();
  if ((name == option_name::reset_on_close ? system::get_linger(native_handle(), value)
                                           : system::get_option(native_handle(), o.level, o.name, value)) != 0)
    error = last_error();
  return value;
}

}  // namespace thrum::net
