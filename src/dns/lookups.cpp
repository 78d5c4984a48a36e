// Asking c-ares, and reading what it has made of the answers.
#include "dns/lookups.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <numeric>
#include <utility>

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "dns/errors.hpp"
#include "dns/stub_lookups.hpp"
#include "net/address.hpp"
#include "sched/wait.hpp"

namespace thrum::net {
namespace {

// In a callback: nothing may be thrown through c-ares.
template <class Store>
void settle_with(question& q, int status, Store store) noexcept {
  if (status == ARES_SUCCESS) try {
      store();
    } catch (const std::bad_alloc&) {
      status = ARES_ENOMEM;
    }
  q.settle(status);
}

endpoint endpoint_of(const sockaddr* from, std::size_t length) noexcept {
  address a;
  if (length > sizeof a.storage) return {};
  std::memcpy(&a.storage, from, length);
  a.length = static_cast<socklen_t>(length);
  return endpoint(a);
}

void addresses_came(void* asked, int status, int, ares_addrinfo* info) noexcept {
  const std::unique_ptr<ares_addrinfo, void (*)(ares_addrinfo*)> owner(info, ares_freeaddrinfo);
  auto& l = *static_cast<address_lookup*>(asked);
  settle_with(l, status, [&] {
    for (const auto* n = info->nodes; n; n = n->ai_next) l.found.push_back(endpoint_of(n->ai_addr, n->ai_addrlen));
  });
}

void message_came(void* asked, int status, int, unsigned char* bytes, int size) noexcept {
  auto& l = *static_cast<record_lookup*>(asked);
  settle_with(l, status, [&] { l.message.assign(bytes, bytes + size); });
}

// c-ares puts the first name, or them all, among the aliases as well.
std::vector<std::string> names_of(const hostent& host) {
  std::vector<std::string> names;
  if (host.h_name) names.emplace_back(host.h_name);
  for (char** alias = host.h_aliases; alias && *alias; ++alias)
    if (std::find(names.begin(), names.end(), *alias) == names.end()) names.emplace_back(*alias);
  return names;
}

void names_came(void* asked, int status, int, hostent* host) noexcept {
  auto& l = *static_cast<name_lookup*>(asked);
  settle_with(l, status, [&] { l.names = names_of(*host); });
}

int system_family(address_family f) noexcept {
  return f == address_family::any ? AF_UNSPEC : f == address_family::v4 ? AF_INET : AF_INET6;
}

// What was asked for, unless something went wrong.
template <class Answer>
Answer taken(const question& q, const exchange& over, Answer& answer, std::error_code& error) {
  if (!error && q.status != ARES_SUCCESS) error = over.reason(q.status);
  if (error) return {};
  return std::move(answer);
}

}  // namespace

address_lookup::address_lookup(const resolver_configuration& with, const std::string& host, std::uint16_t port,
                               address_family family, std::error_code& error)
    : over(with, error) {
  if (error) return;
  if (auto* own = over.own()) {
    ask_for_addresses(*own, with, host, port, family, [this](int came, std::vector<endpoint> all) {
      found = std::move(all);
      settle(came);
    });
    return;
  }
  ares_addrinfo_hints hints{};
  hints.ai_family = system_family(family);
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = ARES_AI_NUMERICSERV;
  // It takes port 0 for a mistake, and knows no other way to say so.
  const auto service = std::to_string(port);
  ares_getaddrinfo(over.channel(), host.c_str(), port != 0 ? service.c_str() : nullptr, &hints, addresses_came, this);
}

std::vector<endpoint> address_lookup::take(std::error_code& error) {
  auto all = taken(*this, over, found, error);
  if (!error && all.empty()) error = dns_errc::no_such_record;
  return all;
}

record_lookup::record_lookup(const resolver_configuration& with, const std::string& name, record_type type,
                             std::error_code& error)
    : over(with, error) {
  constexpr int internet = 1;
  if (error) return;
  if (auto* own = over.own()) {
    own->ask(name, static_cast<int>(type), [this](int came, const stub::octets& bytes) {
      message = bytes;
      settle(came);
    });
    return;
  }
  ares_query(over.channel(), name.c_str(), internet, static_cast<int>(type), message_came, this);
}

std::vector<unsigned char> record_lookup::take(std::error_code& error) { return taken(*this, over, message, error); }

name_lookup::name_lookup(const resolver_configuration& with, const endpoint& of, std::error_code& error)
    : over(with, error) {
  if (error) return;
  const auto a = of.to_address();
  auto* own = over.own();
  if (own && (a.family() == AF_INET6 || a.family() == AF_INET)) {
    ask_for_names(*own, of, [this](int came, const hostent* host) {
      if (host) names = names_of(*host);
      settle(came);
    });
  } else if (a.family() == AF_INET6) {
    const auto& in = reinterpret_cast<const sockaddr_in6*>(&a.storage)->sin6_addr;
    ares_gethostbyaddr(over.channel(), &in, sizeof in, AF_INET6, names_came, this);
  } else if (a.family() == AF_INET) {
    const auto& in = reinterpret_cast<const sockaddr_in*>(&a.storage)->sin_addr;
    ares_gethostbyaddr(over.channel(), &in, sizeof in, AF_INET, names_came, this);
  } else {
    settle(ARES_EBADNAME);
  }
}

std::vector<std::string> name_lookup::take(std::error_code& error) {
  auto all = taken(*this, over, names, error);
  if (!error && all.empty()) error = dns_errc::no_such_record;
  return all;
}

// -----------------------------------------------------------------------------------------------------------------

namespace {

// The records of a message as c-ares parses them, in a list that add() turns into ours.
template <class Record, class Reply, class Add>
std::vector<Record> parsed(const std::vector<unsigned char>& message, std::error_code& error,
                           int (*parse)(const unsigned char*, int, Reply**), Add add) {
  std::vector<Record> records;
  if (error) return records;
  Reply* list = nullptr;
  const int status = parse(message.data(), static_cast<int>(message.size()), &list);
  const std::unique_ptr<Reply, void (*)(void*)> owner(list, ares_free_data);
  if (status != ARES_SUCCESS)
    error = dns_error(status);
  else
    for (const auto* r = list; r; r = r->next) add(records, *r);
  if (!error && records.empty()) error = dns_errc::no_such_record;
  return records;
}

}  // namespace

std::vector<srv_record> srv_records(const std::vector<unsigned char>& message, std::error_code& error) {
  auto records = parsed<srv_record>(message, error, ares_parse_srv_reply, [](auto& all, const ares_srv_reply& r) {
    all.push_back({r.host, r.port, r.priority, r.weight});
  });
  // "A Target of "." means that the service is decidedly not available at this domain."
  if (records.size() == 1 && (records.front().target.empty() || records.front().target == ".")) {
    error = dns_errc::not_offered;
    return {};
  }
  order_services(records, sched::random_below);
  return records;
}

std::vector<mx_record> mx_records(const std::vector<unsigned char>& message, std::error_code& error) {
  auto records = parsed<mx_record>(message, error, ares_parse_mx_reply, [](auto& all, const ares_mx_reply& r) {
    all.push_back({r.host, r.priority});
  });
  std::sort(records.begin(), records.end(),
            [](const mx_record& a, const mx_record& b) { return a.preference < b.preference; });
  return records;
}

// A record is a row of strings, which belong together.
std::vector<std::string> txt_records(const std::vector<unsigned char>& message, std::error_code& error) {
  return parsed<std::string>(message, error, ares_parse_txt_reply_ext, [](auto& all, const ares_txt_ext& r) {
    if (r.record_start || all.empty()) all.emplace_back();
    all.back().append(reinterpret_cast<const char*>(r.txt), r.length);
  });
}

// -----------------------------------------------------------------------------------------------------------------

namespace {

// The next of those with one priority: chosen with a chance of its weight; those without weight, which are in front,
// with a very small one.
std::vector<srv_record>::iterator choose_service(std::vector<srv_record>::iterator first,
                                                 std::vector<srv_record>::iterator last,
                                                 std::uint32_t (*random)(std::uint32_t)) {
  const auto total = std::accumulate(first, last, std::uint32_t{0},
                                     [](std::uint32_t sum, const srv_record& r) { return sum + r.weight; });
  const auto chosen = random(total + 1);
  std::uint32_t sum = 0;
  return std::find_if(first, last, [&](const srv_record& r) { return (sum += r.weight) >= chosen; });
}

}  // namespace

void order_services(std::vector<srv_record>& records, std::uint32_t (*random)(std::uint32_t)) {
  std::sort(records.begin(), records.end(), [](const srv_record& a, const srv_record& b) {
    return std::pair(a.priority, a.weight != 0) < std::pair(b.priority, b.weight != 0);
  });
  for (auto first = records.begin(); first != records.end();) {
    const auto last =
        std::find_if(first, records.end(), [p = first->priority](const srv_record& r) { return r.priority != p; });
    for (; first != last; ++first) {
      const auto chosen = choose_service(first, last, random);
      std::rotate(first, chosen, chosen + 1);  // The others keep their order.
    }
  }
}

}  // namespace thrum::net
