// The names that the hosts file gives to addresses: hosts(5).
#pragma once

#include <cstdint>
#include <istream>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <thrum/net/endpoint.hpp>
#include <thrum/net/resolver.hpp>

namespace thrum::net {

// "192.0.2.1" or "::1", also in brackets. Nothing when it is not numeric.
std::optional<endpoint> numeric_endpoint(std::string_view host, std::uint16_t port);
bool is_of(const endpoint& e, address_family family) noexcept;

class hosts_table {
 public:
  hosts_table() = default;
  // Lines, or names, that make no sense are skipped.
  explicit hosts_table(std::istream& file);

  // In the order of the file. Upper and lower case, and a dot at the end, make no difference.
  std::vector<endpoint> find(std::string_view host, std::uint16_t port, address_family family) const;

 private:
  std::map<std::string, std::vector<endpoint>> by_name_;  // In lower case.
};

// In lower case, without a dot at the end.
std::string plain_name(std::string_view host);

}  // namespace thrum::net
