// What the name servers of a simulation know, and what they say: messages of DNS (RFC 1035). Nothing here knows of
// sockets.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <thrum/sim_names.hpp>

#include "base/rng.hpp"
#include "net/address.hpp"

namespace thrum::sim {

using octets = std::vector<std::byte>;

class names {
 public:
  explicit names(std::uint64_t seed);

  // Throw std::invalid_argument.
  void set_addresses(std::string_view name, const std::vector<std::string>& addresses);
  void set_services(std::string_view name, const std::vector<net::srv_record>& services);
  void set_mail_hosts(std::string_view name, const std::vector<net::mx_record>& hosts);
  void set_texts(std::string_view name, const std::vector<std::string>& texts);
  void remove(std::string_view name);
  void set_server(std::string_view address, const name_server& s);

  bool is_server(const net::address& a) const { return find(a) != nullptr; }
  bool is_down(const net::address& a) const { return find(a)->down; }

  struct answer {
    octets message;
    std::int64_t after_ns = 0;
  };
  // None: it is silent.
  std::optional<answer> answer_to(std::span<const std::byte> query, const net::address& server, bool by_tcp);

 private:
  struct record {
    unsigned type;
    octets data;
  };
  struct question;
  using records = std::vector<record>;

  const name_server* find(const net::address& a) const;
  void replace(std::string_view name, std::initializer_list<unsigned> types, records by);
  void forget_addresses(const std::string& name);
  bool chance(std::uint32_t one_in) noexcept { return one_in > 0 && rng_.below(one_in) == 0; }
  std::int64_t think(const name_server& s) noexcept;

  base::rng rng_;
  std::map<std::string, records, std::less<>> zone_;  // By names in lower case, without a dot at the end.
  std::map<std::string, name_server> servers_;        // By address and port.
};

}  // namespace thrum::sim
