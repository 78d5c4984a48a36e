// Parsing and printing with inet_pton and inet_ntop: numeric only, so nothing here can block.
#include "net/address.hpp"

#include <charconv>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "net/system_calls.hpp"

namespace thrum::net {
namespace {

bool parse_port(std::string_view text, in_port_t& port) noexcept {
  std::uint16_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  port = htons(value);
  return error == std::errc{} && end == text.data() + text.size() && !text.empty();
}

bool parse_v4(const std::string& host, in_port_t port, address& out) noexcept {
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = port;
  if (::inet_pton(AF_INET, host.empty() ? "0.0.0.0" : host.c_str(), &a.sin_addr) != 1) return false;
  std::memcpy(&out.storage, &a, sizeof a);
  out.length = sizeof a;
  return true;
}

bool parse_v6(const std::string& host, in_port_t port, address& out) noexcept {
  sockaddr_in6 a{};
  a.sin6_family = AF_INET6;
  a.sin6_port = port;
  if (::inet_pton(AF_INET6, host.c_str(), &a.sin6_addr) != 1) return false;
  std::memcpy(&out.storage, &a, sizeof a);
  out.length = sizeof a;
  return true;
}

// Both kinds of address have it at the same place, but the types differ.
template <class Storage>
auto& port_in(Storage& a) noexcept {
  using v4 = std::conditional_t<std::is_const_v<Storage>, const sockaddr_in, sockaddr_in>;
  using v6 = std::conditional_t<std::is_const_v<Storage>, const sockaddr_in6, sockaddr_in6>;
  return a.ss_family == AF_INET6 ? reinterpret_cast<v6&>(a).sin6_port : reinterpret_cast<v4&>(a).sin_port;
}

std::string address_of(int fd, int (*get)(int, sockaddr*, socklen_t*)) {
  address a;
  a.length = sizeof a.storage;
  if (get(fd, reinterpret_cast<sockaddr*>(&a.storage), &a.length) != 0) return {};
  return to_string(a);
}

}  // namespace

std::uint16_t address::port() const noexcept { return ntohs(port_in(storage)); }
void address::set_port(std::uint16_t number) noexcept { port_in(storage) = htons(number); }

address parse_address(std::string_view text, std::error_code& error) {
  address a;
  in_port_t port = 0;
  const auto colon = text.rfind(':');
  // inet_pton would see no more than what precedes a null character.
  const bool whole = text.find('\0') == std::string_view::npos;
  bool ok = whole && colon != std::string_view::npos && parse_port(text.substr(colon + 1), port);
  if (ok) {
    const auto host = text.substr(0, colon);
    const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
    ok = bracketed ? parse_v6(std::string(host.substr(1, host.size() - 2)), port, a)
                   : parse_v4(std::string(host), port, a);
  }
  error = ok ? std::error_code() : std::make_error_code(std::errc::invalid_argument);
  return a;
}

std::string to_string(const address& a) {
  char host[INET6_ADDRSTRLEN] = "";
  if (a.family() == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(&a.storage);
    ::inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
    return std::string(host) + ":" + std::to_string(a.port());
  }
  if (a.family() == AF_INET6) {
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&a.storage);
    ::inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
    return std::string("[") + host + "]:" + std::to_string(a.port());
  }
  return {};
}

std::string local_address_of(int fd) { return address_of(fd, &system::local_name); }
std::string remote_address_of(int fd) { return address_of(fd, &system::peer_name); }

}  // namespace thrum::net
