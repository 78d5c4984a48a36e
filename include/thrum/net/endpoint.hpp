// The address and port of a UDP socket, IPv4 or IPv6: a value.
//
//   const thrum::net::endpoint dns("127.0.0.1:53");
//   dns.port();                                          // 53
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>

namespace thrum::net {

struct address;

class endpoint {
 public:
  endpoint() noexcept = default;  // None: equal to no other but such.
  // `text` is numeric: "127.0.0.1:80", "[::1]:80", or ":80" for every interface. Throws errc::invalid_argument.
  explicit endpoint(std::string_view text);
  endpoint(std::string_view text, std::error_code& error);

  std::uint16_t port() const noexcept;
  std::string to_string() const;  // As above; empty for none.

  friend bool operator==(const endpoint&, const endpoint&) noexcept = default;

  // The library's.
  explicit endpoint(const address& a) noexcept;
  address to_address() const noexcept;

 private:
  alignas(8) std::array<std::byte, 28> storage_{};  // A sockaddr_in or a sockaddr_in6; zero beyond the length.
  std::uint32_t length_ = 0;
};

}  // namespace thrum::net
