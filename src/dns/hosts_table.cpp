// Reading the hosts file.
#include "dns/hosts_table.hpp"

#include <algorithm>
#include <sstream>
#include <system_error>

#include <sys/socket.h>

#include "net/address.hpp"

namespace thrum::net {
namespace {

endpoint with_port(const endpoint& e, std::uint16_t port) noexcept {
  auto a = e.to_address();
  a.set_port(port);
  return endpoint(a);
}

}  // namespace

std::optional<endpoint> numeric_endpoint(std::string_view host, std::uint16_t port) {
  if (host.empty()) return {};
  const auto number = ":" + std::to_string(port);
  std::error_code error;
  const endpoint plain(std::string(host) + number, error);
  if (!error) return plain;
  const endpoint bracketed("[" + std::string(host) + "]" + number, error);
  if (!error) return bracketed;
  return {};
}

bool is_of(const endpoint& e, address_family family) noexcept {
  return family == address_family::any || (e.to_address().family() == AF_INET6) == (family == address_family::v6);
}

std::string plain_name(std::string_view host) {
  std::string name(host);
  if (name.ends_with('.')) name.pop_back();
  std::transform(name.begin(), name.end(), name.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return name;
}

hosts_table::hosts_table(std::istream& file) {
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line.substr(0, line.find('#')));
    std::string word;
    const auto address = words >> word ? numeric_endpoint(word, 0) : std::nullopt;
    if (!address) continue;
    while (words >> word) by_name_[plain_name(word)].push_back(*address);
  }
}

std::vector<endpoint> hosts_table::find(std::string_view host, std::uint16_t port, address_family family) const {
  std::vector<endpoint> found;
  const auto known = by_name_.find(plain_name(host));
  if (known == by_name_.end()) return found;
  for (const auto& e : known->second)
    if (is_of(e, family)) found.push_back(with_port(e, port));
  return found;
}

}  // namespace thrum::net
