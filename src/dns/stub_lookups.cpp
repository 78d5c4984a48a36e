// The names under which addresses are asked for, the two questions, and the name of an address.
#include "dns/stub_lookups.hpp"

#include <array>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "dns/address_order.hpp"
#include "net/address.hpp"

namespace thrum::net {
namespace {

constexpr int type_a = 1, type_ptr = 12, type_aaaa = 28;
constexpr int records_max = 4096;  // More than fit into a message.

// Adds those of one kind, in the order of the message. ARES_ENODATA: there are none.
template <class Record, class Parse, class Make>
int add_records(const stub::octets& m, Parse parse, Make make, std::vector<endpoint>& to) {
  std::vector<Record> all(records_max);
  int count = records_max;
  const int status = parse(m.data(), static_cast<int>(m.size()), nullptr, all.data(), &count);
  if (status == ARES_SUCCESS)
    for (int i = 0; i < count; ++i) to.push_back(make(all[static_cast<std::size_t>(i)]));
  return status;
}

endpoint v4_endpoint(const in_addr& bits, std::uint16_t port) noexcept {
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_addr = bits;
  address a{.length = sizeof in};
  std::memcpy(&a.storage, &in, sizeof in);
  a.set_port(port);
  return endpoint(a);
}

endpoint v6_endpoint(const ares_in6_addr& bits, std::uint16_t port) noexcept {
  sockaddr_in6 in{};
  in.sin6_family = AF_INET6;
  std::memcpy(&in.sin6_addr, &bits, sizeof in.sin6_addr);
  address a{.length = sizeof in};
  std::memcpy(&a.storage, &in, sizeof in);
  a.set_port(port);
  return endpoint(a);
}

// Both kinds, whatever was asked for.
int add_addresses(const stub::octets& m, std::uint16_t port, std::vector<endpoint>& to) {
  const int v4 = add_records<ares_addrttl>(
      m, ares_parse_a_reply, [port](const ares_addrttl& r) { return v4_endpoint(r.ipaddr, port); }, to);
  const int v6 = add_records<ares_addr6ttl>(
      m, ares_parse_aaaa_reply, [port](const ares_addr6ttl& r) { return v6_endpoint(r.ip6addr, port); }, to);
  return v4 == ARES_SUCCESS || v6 == ARES_SUCCESS ? ARES_SUCCESS : v4;
}

// Kept alive by the questions that are under way.
struct address_search : std::enable_shared_from_this<address_search> {
  stub& over;
  std::uint16_t port;
  address_family family;
  std::function<void(int, std::vector<endpoint>)> then;
  std::vector<std::string> names{};  // To be asked for, one after the other.
  std::size_t next = 0;
  int awaited = 0;
  bool has_no_data = false;  // A name was there.
  std::vector<endpoint> found{};

  address_search(stub& s, std::uint16_t p, address_family f, std::function<void(int, std::vector<endpoint>)> t)
      : over(s), port(p), family(f), then(std::move(t)) {}

  void ask_next(int status) {
    if (next == names.size()) return end(status);
    const auto& name = names[next++];
    const auto kept = shared_from_this();
    const auto came = [kept](int s, const stub::octets& m) { kept->answer_came(s, m); };
    awaited = family == address_family::any ? 2 : 1;
    if (family != address_family::v6) over.ask(name, type_a, came);
    if (family != address_family::v4) over.ask(name, type_aaaa, came);
  }

  // The last one decides, as with c-ares.
  void answer_came(int status, const stub::octets& message) {
    const int parsed = status == ARES_SUCCESS ? add_addresses(message, port, found) : ARES_SUCCESS;
    if (--awaited > 0) return;
    const bool is_empty = status == ARES_ENODATA || parsed == ARES_ENODATA;
    if (parsed != ARES_SUCCESS && parsed != ARES_ENODATA) return end(parsed);
    if (!found.empty()) return end(ARES_SUCCESS);
    if (status != ARES_ENOTFOUND && !is_empty) return end(status);
    has_no_data = has_no_data || is_empty;
    ask_next(has_no_data ? ARES_ENODATA : status);
  }

  void end(int status) {
    if (status != ARES_SUCCESS) found.clear();
    order_addresses(found);
    then(status, std::move(found));
  }
};

}  // namespace

void ask_for_addresses(stub& over, const resolver_configuration& with, const std::string& host, std::uint16_t port,
                       address_family family, std::function<void(int status, std::vector<endpoint> found)> then) {
  const auto search = std::make_shared<address_search>(over, port, family, std::move(then));
  const bool first = with.is_asked_first(host);
  if (first) search->names.push_back(host);
  if (with.may_be_searched(host))
    for (const auto& domain : with.domains) search->names.push_back(host + (domain == "." ? "" : ".") + domain);
  if (!first) search->names.push_back(host);
  search->ask_next(ARES_ECONNREFUSED);
}

// -----------------------------------------------------------------------------------------------------------------

namespace {

struct raw_address {
  int family;
  std::array<unsigned char, 16> bytes;
  int size;
};

raw_address raw(const endpoint& e) noexcept {
  const auto a = e.to_address();
  raw_address r{a.family(), {}, a.family() == AF_INET6 ? 16 : 4};
  const auto* from = a.family() == AF_INET6
                         ? static_cast<const void*>(&reinterpret_cast<const sockaddr_in6&>(a.storage).sin6_addr)
                         : &reinterpret_cast<const sockaddr_in&>(a.storage).sin_addr;
  std::memcpy(r.bytes.data(), from, static_cast<std::size_t>(r.size));
  return r;
}

std::string reverse_name(const raw_address& a) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string name;
  for (int i = a.size - 1; i >= 0; --i) {
    const unsigned byte = a.bytes[static_cast<std::size_t>(i)];
    if (a.family == AF_INET6)
      name += {digits[byte & 15], '.', digits[byte >> 4], '.'};
    else
      name += std::to_string(byte) + '.';
  }
  return name + (a.family == AF_INET6 ? "ip6.arpa" : "in-addr.arpa");
}

}  // namespace

void ask_for_names(stub& over, const endpoint& of, std::function<void(int status, const hostent* host)> then) {
  const auto a = raw(of);
  over.ask(reverse_name(a), type_ptr, [a, then = std::move(then)](int status, const stub::octets& m) {
    if (status != ARES_SUCCESS) return then(ARES_ENOTFOUND, nullptr);
    hostent* host = nullptr;
    status = ares_parse_ptr_reply(m.data(), static_cast<int>(m.size()), a.bytes.data(), a.size, a.family, &host);
    const std::unique_ptr<hostent, void (*)(hostent*)> owner(host, ares_free_hostent);
    then(status, host);
  });
}

}  // namespace thrum::net
