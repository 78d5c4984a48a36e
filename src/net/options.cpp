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

system_option meaning_of(option_name name) noexcept {
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
  }
  return {-1, -1};
}

}  // namespace

void socket::write_option(option_name name, int value, std::error_code& error) noexcept {
  const auto o = meaning_of(name);
  const bool lingers = name == option_name::reset_on_close;
  error.clear();
  if ((lingers ? system::set_linger(fd_, value != 0) : system::set_option(fd_, o.level, o.name, value)) != 0)
    error = last_error();
}

int socket::read_option(option_name name, std::error_code& error) const noexcept {
  const auto o = meaning_of(name);
  linger as_linger{};
  int value = 0;
  const bool lingers = name == option_name::reset_on_close;
  error.clear();
  if ((lingers ? system::get_option(fd_, o.level, o.name, as_linger)
               : system::get_option(fd_, o.level, o.name, value)) != 0)
    error = last_error();
  return lingers ? int{as_linger.l_onoff != 0 && as_linger.l_linger == 0} : value;
}

}  // namespace thrum::net
