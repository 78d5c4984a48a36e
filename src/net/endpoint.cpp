// Endpoints hold what the kernel takes for an address.
#include <thrum/net/endpoint.hpp>

#include <cstring>
#include <string>

#include <netinet/in.h>

#include "net/address.hpp"

namespace thrum::net {

static_assert(sizeof(sockaddr_in6) <= 28 && sizeof(sockaddr_in) <= sizeof(sockaddr_in6));

endpoint::endpoint(const address& a) noexcept {
  if (a.family() != AF_INET && a.family() != AF_INET6) return;
  length_ = a.length;
  std::memcpy(storage_.data(), &a.storage, length_);
}

endpoint::endpoint(std::string_view text, std::error_code& error) {
  const auto a = parse_address(text, error);
  if (!error) *this = endpoint(a);
}

endpoint::endpoint(std::string_view text) {
  std::error_code error;
  *this = endpoint(text, error);
  if (error) throw std::system_error(error, "thrum: no endpoint: " + std::string(text));
}

address endpoint::to_address() const noexcept {
  address a;
  a.length = length_;
  std::memcpy(&a.storage, storage_.data(), length_);
  return a;
}

std::uint16_t endpoint::port() const noexcept { return length_ == 0 ? std::uint16_t{0} : to_address().port(); }
std::string endpoint::to_string() const { return net::to_string(to_address()); }

}  // namespace thrum::net
