// The questions of a resolver, each with its exchange, and what their answers say.
#pragma once

#include <cstdint>
#include <string>
#include <system_error>
#include <vector>

#include "dns/exchange.hpp"

namespace thrum::net {

// Each begins to ask where it is made, and is then run(); take() gives what has come of it. The exchange is the last
// member: it ends first.
struct address_lookup : question {
  address_lookup(const resolver_configuration& with, const std::string& host, std::uint16_t port, address_family family,
                 std::error_code& error);
  std::vector<endpoint> take(std::error_code& error);

  std::vector<endpoint> found{};
  exchange over;
};

enum class record_type : int { mx = 15, txt = 16, srv = 33 };  // As in the protocol.

struct record_lookup : question {
  record_lookup(const resolver_configuration& with, const std::string& name, record_type type, std::error_code& error);
  std::vector<unsigned char> take(std::error_code& error);  // The message.

  std::vector<unsigned char> message{};
  exchange over;
};

struct name_lookup : question {
  name_lookup(const resolver_configuration& with, const endpoint& of, std::error_code& error);
  std::vector<std::string> take(std::error_code& error);

  std::vector<std::string> names{};
  exchange over;
};

// Nothing from a lookup that has failed.
std::vector<srv_record> srv_records(const std::vector<unsigned char>& message, std::error_code& error);
std::vector<mx_record> mx_records(const std::vector<unsigned char>& message, std::error_code& error);
std::vector<std::string> txt_records(const std::vector<unsigned char>& message, std::error_code& error);

// RFC 2782. random(n) gives a number from 0 to n - 1.
void order_services(std::vector<srv_record>& records, std::uint32_t (*random)(std::uint32_t));

}  // namespace thrum::net
