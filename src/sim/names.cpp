// Names, their records, and the messages that tell of them.
#include "sim/names.hpp"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <system_error>
#include <utility>

#include <netinet/in.h>

#include "sim/chooser.hpp"

namespace thrum::sim {
namespace {

struct type {
  enum : unsigned { a = 1, ptr = 12, mx = 15, txt = 16, aaaa = 28, srv = 33 };
};
struct response {
  enum : unsigned { fine = 0, server_failure = 2, name_error = 3 };
};

constexpr std::size_t header_size = 12, label_max = 63, name_max = 253, text_max = 255, by_udp_max = 512;
constexpr unsigned internet = 1, seconds_to_live = 60;

std::string plain(std::string_view name) {
  std::string text(name);
  if (text.ends_with('.')) text.pop_back();
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

[[noreturn]] void refuse(std::string_view what, const char* why) {
  throw std::invalid_argument("thrum: sim: '" + std::string(what) + "' " + why);
}

// --- Writing.

void put(octets& out, unsigned value, int size) {
  for (int shift = 8 * (size - 1); shift >= 0; shift -= 8) out.push_back(static_cast<std::byte>(value >> shift));
}

void put_text(octets& out, std::string_view text) {
  put(out, static_cast<unsigned>(text.size()), 1);
  for (const char c : text) out.push_back(static_cast<std::byte>(c));
}

// The root's is empty, or a dot.
void put_name(octets& out, std::string_view name) {
  auto rest = name.ends_with('.') ? name.substr(0, name.size() - 1) : name;
  if (rest.size() > name_max) refuse(name, "is too long for a name");
  while (!rest.empty()) {
    const auto label = rest.substr(0, rest.find('.'));
    if (label.empty() || label.size() > label_max || label.size() + 1 == rest.size()) refuse(name, "is no name");
    put_text(out, label);
    rest.remove_prefix(std::min(rest.size(), label.size() + 1));
  }
  put(out, 0, 1);
}

octets name_as_data(std::string_view name) {
  octets data;
  put_name(data, name);
  return data;
}

net::address address_from(const std::string& text) {
  std::error_code error;
  auto parsed = net::parse_address(text + ":53", error);
  if (error) parsed = net::parse_address("[" + text + "]:53", error);
  if (error || text.empty()) refuse(text, "is no numeric address");
  return parsed;
}

octets bytes_of(const net::address& from) {
  const auto* first =
      from.family() == AF_INET6
          ? reinterpret_cast<const std::byte*>(&reinterpret_cast<const sockaddr_in6&>(from.storage).sin6_addr)
          : reinterpret_cast<const std::byte*>(&reinterpret_cast<const sockaddr_in&>(from.storage).sin_addr);
  return {first, first + (from.family() == AF_INET6 ? sizeof(in6_addr) : sizeof(in_addr))};
}

// Under which the name of an address is asked for.
std::string reverse_name(const octets& address) {
  const bool v6 = address.size() == sizeof(in6_addr);
  std::string name;
  for (auto i = address.rbegin(); i != address.rend(); ++i) {
    const auto byte = std::to_integer<unsigned>(*i);
    constexpr std::string_view digits = "0123456789abcdef";
    if (v6)
      name += {digits[byte & 15], '.', digits[byte >> 4], '.'};
    else
      name += std::to_string(byte) + '.';
  }
  return name + (v6 ? "ip6.arpa" : "in-addr.arpa");
}

}  // namespace

// -----------------------------------------------------------------------------------------------------------------
// What there is.

names::names(std::uint64_t seed) : rng_(make_rng(seed, 7)) {
  for (const auto address : {default_name_server, default_name_server_v6}) set_server(address, {});
}

void names::replace(std::string_view name, std::initializer_list<unsigned> types, records by) {
  const auto key = plain(name);
  if (key.empty()) refuse(name, "is no name");
  name_as_data(key);  // Throws when it is none.
  auto& all = zone_[key];
  std::erase_if(all, [&](const record& r) { return std::find(types.begin(), types.end(), r.type) != types.end(); });
  std::move(by.begin(), by.end(), std::back_inserter(all));
}

void names::forget_addresses(const std::string& name) {
  const auto known = zone_.find(name);
  if (known == zone_.end()) return;
  const auto said = name_as_data(name);
  for (const auto& r : records(known->second)) {
    const auto reverse = r.type == type::a || r.type == type::aaaa ? zone_.find(reverse_name(r.data)) : zone_.end();
    if (reverse == zone_.end()) continue;
    std::erase_if(reverse->second, [&](const record& other) { return other.type == type::ptr && other.data == said; });
    if (reverse->second.empty()) zone_.erase(reverse);
  }
}

void names::set_addresses(std::string_view name, const std::vector<std::string>& addresses) {
  records fresh;
  for (const auto& text : addresses) {
    const auto parsed = address_from(text);
    fresh.push_back({parsed.family() == AF_INET6 ? type::aaaa : type::a, bytes_of(parsed)});
  }
  const auto key = plain(name);
  const auto said = record{type::ptr, name_as_data(key)};
  forget_addresses(key);
  for (const auto& r : fresh) zone_[reverse_name(r.data)].push_back(said);
  replace(name, {type::a, type::aaaa}, std::move(fresh));
}

void names::set_services(std::string_view name, const std::vector<net::srv_record>& services) {
  records fresh;
  for (const auto& s : services) {
    record r{type::srv, {}};
    for (const unsigned number : {s.priority, s.weight, s.port}) put(r.data, number, 2);
    put_name(r.data, s.target);
    fresh.push_back(std::move(r));
  }
  replace(name, {type::srv}, std::move(fresh));
}

void names::set_mail_hosts(std::string_view name, const std::vector<net::mx_record>& hosts) {
  records fresh;
  for (const auto& h : hosts) {
    record r{type::mx, {}};
    put(r.data, h.preference, 2);
    put_name(r.data, h.host);
    fresh.push_back(std::move(r));
  }
  replace(name, {type::mx}, std::move(fresh));
}

// A long text is a row of strings.
void names::set_texts(std::string_view name, const std::vector<std::string>& texts) {
  records fresh;
  for (std::string_view rest : texts) {
    record r{type::txt, {}};
    do {
      put_text(r.data, rest.substr(0, text_max));
      rest.remove_prefix(std::min(rest.size(), text_max));
    } while (!rest.empty());
    fresh.push_back(std::move(r));
  }
  replace(name, {type::txt}, std::move(fresh));
}

void names::remove(std::string_view name) {
  const auto key = plain(name);
  forget_addresses(key);
  zone_.erase(key);
}

void names::set_server(std::string_view address, const name_server& s) {
  if (s.latency_min.count() < 0) throw std::invalid_argument("thrum: sim: a name server's latency is not negative");
  servers_[net::to_string(address_from(std::string(address)))] = s;
}

// -----------------------------------------------------------------------------------------------------------------
// What is said of it.

// The first, which is the only one in what resolvers send.
struct names::question {
  octets bytes;
  std::string name;
  unsigned type = 0;

  static unsigned number(std::span<const std::byte> m, std::size_t at) noexcept {
    return std::to_integer<unsigned>(m[at]) << 8 | std::to_integer<unsigned>(m[at + 1]);
  }
  static std::optional<question> in(std::span<const std::byte> m) {
    if (m.size() < header_size || number(m, 4) != 1) return {};
    question q;
    auto at = header_size;
    for (std::size_t size; at < m.size() && (size = std::to_integer<std::size_t>(m[at])) != 0; at += size + 1) {
      if (size > label_max || at + 1 + size > m.size()) return {};
      if (!q.name.empty()) q.name += '.';
      q.name.append(reinterpret_cast<const char*>(&m[at + 1]), size);
    }
    if (at + 5 > m.size() || number(m, at + 3) != internet) return {};
    q.type = number(m, at + 1);
    q.bytes.assign(m.begin() + header_size, m.begin() + static_cast<std::ptrdiff_t>(at) + 5);
    return q;
  }
};

const name_server* names::find(const net::address& address) const {
  const auto known = servers_.find(net::to_string(address));
  return known == servers_.end() ? nullptr : &known->second;
}

std::int64_t names::think(const name_server& s) noexcept {
  const auto least = s.latency_min.count(), most = std::max(least, s.latency_max.count());
  if (most == least) return least;
  return least + static_cast<std::int64_t>(rng_.next() % static_cast<std::uint64_t>(most - least + 1));
}

std::optional<names::answer> names::answer_to(std::span<const std::byte> query, const net::address& server,
                                              bool by_tcp) {
  const auto& s = *find(server);
  const auto asked = question::in(query);
  if (!asked || s.down || (!by_tcp && chance(s.one_in_lost))) return {};

  const auto known = zone_.find(plain(asked->name));
  const bool fails = chance(s.one_in_failures);
  const unsigned code = fails ? response::server_failure : known == zone_.end() ? response::name_error : response::fine;
  octets said;
  unsigned count = 0;
  if (code == response::fine)
    for (const auto& r : known->second) {
      if (r.type != asked->type) continue;
      ++count;
      put(said, 0xc000u | header_size, 2);  // The name in the question.
      put(said, r.type, 2);
      put(said, internet, 2);
      put(said, seconds_to_live, 4);
      put(said, static_cast<unsigned>(r.data.size()), 2);
      said.insert(said.end(), r.data.begin(), r.data.end());
    }
  const bool too_long = header_size + asked->bytes.size() + said.size() > by_udp_max;
  const bool truncated = !by_tcp && (too_long || chance(s.one_in_truncated));

  octets m(query.begin(), query.begin() + 2);              // The identifier.
  put(m, 0x8180u | (truncated ? 0x0200u : 0u) | code, 2);  // A response, to a query that wants recursion.
  put(m, 1, 2);
  put(m, truncated ? 0 : count, 2);
  put(m, 0, 4);
  m.insert(m.end(), asked->bytes.begin(), asked->bytes.end());
  if (!truncated) m.insert(m.end(), said.begin(), said.end());
  return answer{std::move(m), think(s)};
}

}  // namespace thrum::sim
