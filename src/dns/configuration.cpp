// Configuration: c-ares reads resolv.conf once, and is told the outcome for each query.
#include "dns/configuration.hpp"

#include <algorithm>
#include <climits>
#include <cstring>
#include <fstream>
#include <new>
#include <stdexcept>

#include <netinet/in.h>

#include "dns/errors.hpp"
#include "net/address.hpp"
#include "net/system_calls.hpp"

namespace thrum::net {
namespace {

// No names by environment variables that point to files; and the hosts file is ours.
constexpr int channel_flags = ARES_FLAG_NOALIASES;
char only_dns[] = "b";

void initialise_library() {
  static const int status = ares_library_init(ARES_LIB_INIT_ALL);
  if (status == ARES_ENOMEM) throw std::bad_alloc();
  if (status != ARES_SUCCESS) throw std::system_error(dns_error(status), "thrum: c-ares");
}

std::vector<char*> as_pointers(const std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (const auto& t : texts) pointers.push_back(const_cast<char*>(t.c_str()));  // Which c-ares copies.
  return pointers;
}

constexpr int dns_port = 53;

endpoint from_server(const ares_addr_port_node& n) {
  address a;
  if (n.family == AF_INET6) {
    sockaddr_in6 in{};
    in.sin6_family = AF_INET6;
    std::memcpy(&in.sin6_addr, &n.addr.addr6, sizeof in.sin6_addr);
    std::memcpy(&a.storage, &in, a.length = sizeof in);
  } else {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_addr = n.addr.addr4;
    std::memcpy(&a.storage, &in, a.length = sizeof in);
  }
  a.set_port(static_cast<std::uint16_t>(n.udp_port != 0 ? n.udp_port : dns_port));
  return endpoint(a);
}

ares_addr_port_node to_server(const endpoint& e) {
  const auto a = e.to_address();
  ares_addr_port_node n{};
  n.family = a.family();
  if (n.family == AF_INET6)
    std::memcpy(&n.addr.addr6, &reinterpret_cast<const sockaddr_in6*>(&a.storage)->sin6_addr, sizeof n.addr.addr6);
  else
    n.addr.addr4 = reinterpret_cast<const sockaddr_in*>(&a.storage)->sin_addr;
  n.udp_port = n.tcp_port = e.port();
  return n;
}

std::vector<endpoint> servers_of(ares_channeldata* c) {
  ares_addr_port_node* list = nullptr;
  if (ares_get_servers_ports(c, &list) != ARES_SUCCESS) throw std::bad_alloc();
  const std::unique_ptr<ares_addr_port_node, void (*)(void*)> owner(list, ares_free_data);
  std::vector<endpoint> servers;
  for (const auto* n = list; n; n = n->next) servers.push_back(from_server(*n));
  return servers;
}

int set_servers(ares_channeldata* c, const std::vector<endpoint>& servers) {
  std::vector<ares_addr_port_node> list(servers.size());
  std::transform(servers.begin(), servers.end(), list.begin(), to_server);
  for (std::size_t i = 1; i < list.size(); ++i) list[i - 1].next = &list[i];
  return ares_set_servers_ports(c, list.data());
}

// Of what is not told it reads the file.
channel_handle channel_by_file(const resolver_options& options) {
  ares_options o{};
  int mask = ARES_OPT_FLAGS | ARES_OPT_LOOKUPS | ARES_OPT_RESOLVCONF;
  o.flags = channel_flags;
  o.lookups = only_dns;
  auto file = options.configuration_file.empty() ? std::string("/dev/null") : options.configuration_file;
  o.resolvconf_path = file.data();
  ares_channel made = nullptr;
  const int status = ares_init_options(&made, &o, mask);
  if (status == ARES_ENOMEM) throw std::bad_alloc();
  if (status != ARES_SUCCESS) throw std::system_error(dns_error(status), "thrum: cannot make a resolver");
  return channel_handle(made);
}

struct saved_options : ares_options {
  explicit saved_options(ares_channeldata* c) {
    const int status = ares_save_options(c, this, &mask);
    if (status == ARES_SUCCESS) return;
    ares_destroy_options(this);
    throw std::bad_alloc();
  }
  ~saved_options() { ares_destroy_options(this); }
  saved_options(const saved_options&) = delete;
  saved_options& operator=(const saved_options&) = delete;

  int mask = 0;
};

// What resolv.conf(5) says, completed.
struct settings {
  std::vector<endpoint> servers{};
  std::vector<std::string> domains{};
  int ndots = 1, try_timeout_ms = 5000, tries = 4;  // c-ares' own.
  bool rotate = false;
};

settings by_c_ares(const resolver_options& options) {
  const auto channel = channel_by_file(options);
  const saved_options saved(channel.get());
  return {.servers = servers_of(channel.get()),
          .domains = {saved.domains, saved.domains + saved.ndomains},
          .ndots = saved.ndots,
          .try_timeout_ms = saved.timeout,
          .tries = saved.tries,
          .rotate = (saved.mask & ARES_OPT_ROTATE) != 0};
}

// A simulation is a function of its seed, and not of the machine. So of the usual files there is none; and c-ares is
// not asked, which would look into the environment, and for the name of the machine, when they say nothing.
settings simulated(const resolver_options& options) {
  return {.servers = {endpoint(options.configuration_file.empty() ? "127.0.0.1:53" : system::beside::name_server())}};
}

bool is_usual(const std::string& file, std::string resolver_options::*which) {
  static const resolver_options usual;
  return file.empty() || file == usual.*which;
}

bool is_localhost(const std::string& name) noexcept { return name == "localhost" || name.ends_with(".localhost"); }

// As much of a name's form as c-ares does not look at: a null character would end it there.
bool is_name(std::string_view host) noexcept {
  return !host.empty() && host.size() <= 254 && host.find('\0') == std::string_view::npos;
}

}  // namespace

resolver_configuration::resolver_configuration(const resolver_options& options) {
  if (options.try_timeout.count() < 0 || options.try_timeout.count() > INT_MAX)
    throw std::invalid_argument("thrum: a resolver's time-out is negative, or too long");
  initialise_library();
  const bool in_simulation = !system::beside::is_kernel();
  auto said = in_simulation && is_usual(options.configuration_file, &resolver_options::configuration_file)
                  ? simulated(options)
                  : by_c_ares(options);
  servers = options.servers.empty() ? std::move(said.servers) : options.servers;
  domains = options.search_domains ? *options.search_domains : std::move(said.domains);
  ndots = options.ndots ? static_cast<int>(std::min<unsigned>(*options.ndots, INT_MAX)) : said.ndots;
  try_timeout_ms =
      options.try_timeout.count() > 0 ? static_cast<int>(options.try_timeout.count()) : said.try_timeout_ms;
  tries = options.tries > 0 ? static_cast<int>(std::min<unsigned>(options.tries, INT_MAX)) : said.tries;
  rotate = said.rotate;
  if (in_simulation && is_usual(options.hosts_file, &resolver_options::hosts_file)) return;
  if (options.hosts_file.empty()) return;
  std::ifstream file(options.hosts_file);
  hosts = hosts_table(file);
}

channel_handle resolver_configuration::make_channel(ares_sock_state_cb on_change, void* argument, int& status) const {
  ares_options o{};
  const int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_NDOTS | ARES_OPT_SERVERS |
                   ARES_OPT_DOMAINS | ARES_OPT_LOOKUPS | ARES_OPT_SORTLIST | ARES_OPT_SOCK_STATE_CB |
                   ARES_OPT_RESOLVCONF | (rotate ? ARES_OPT_ROTATE : ARES_OPT_NOROTATE);
  auto domain_pointers = as_pointers(domains);
  char no_file[] = "/dev/null";
  o.flags = channel_flags;
  o.timeout = try_timeout_ms;
  o.tries = tries;
  o.ndots = ndots;
  o.domains = domain_pointers.data();
  o.ndomains = static_cast<int>(domain_pointers.size());
  o.lookups = only_dns;
  o.sock_state_cb = on_change;
  o.sock_state_cb_data = argument;
  o.resolvconf_path = no_file;
  ares_channel made = nullptr;
  status = ares_init_options(&made, &o, mask);
  channel_handle c(made);
  if (status == ARES_SUCCESS) status = set_servers(c.get(), servers);
  return c;
}

std::vector<endpoint> resolver_configuration::look_up(std::string_view host, std::uint16_t port, address_family family,
                                                      std::error_code& error) const {
  if (const auto numeric = numeric_endpoint(host, port)) {
    if (is_of(*numeric, family)) return {*numeric};
    error = dns_errc::no_such_record;
    return {};
  }
  if (!is_name(host)) {
    error = dns_errc::bad_name;
    return {};
  }
  auto found = hosts.find(host, port, family);
  if (found.empty() && is_localhost(plain_name(host)))
    for (const char* loopback : {"::1", "127.0.0.1"})
      if (const auto e = *numeric_endpoint(loopback, port); is_of(e, family)) found.push_back(e);
  return found;
}

bool resolver_configuration::is_asked_first(std::string_view host) const noexcept {
  return host.ends_with('.') || std::count(host.begin(), host.end(), '.') >= ndots;
}

}  // namespace thrum::net
