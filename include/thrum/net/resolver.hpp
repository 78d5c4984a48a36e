// From the name of a host to its addresses, by DNS, without blocking a worker.
//
//   const thrum::net::resolver names;                             // as /etc/resolv.conf and /etc/hosts say
//   for (const auto& e : names.resolve("www.example.org", 443)) use(e);
//   for (const auto& s : names.query_srv("_imap._tcp.example.org")) try_server(s.target, s.port);
//   auto c = thrum::net::connect(names, "www.example.org", 443);  // the first address that answers
//
// In the library thrum_dns (CMake: thrum::dns), which needs c-ares. Each query has sockets of its own, so that its port
// cannot be foreseen, waits for them as for any other descriptor, and leaves nothing when it ends or is cancelled.
// Nothing is cached: ask a server nearby.
//
// Queries suspend the calling fiber (or block the calling thread) and are cancellation points. Errors throw
// std::system_error, of dns_category() unless the system failed; the overloads with an error_code report them instead,
// cancellation included (errc::operation_canceled). Any thread may use a resolver, any number at a time.
//
// In a simulation queries go over the simulated network, in virtual time, to name servers that know what the program
// has told them (sim_names.hpp), or to the program's own. A resolver that is made there reads neither of the usual two
// files.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <vector>

#include <thrum/net/connect.hpp>
#include <thrum/net/endpoint.hpp>
#include <thrum/net/tcp_stream.hpp>

namespace thrum::net {

enum class dns_errc {
  no_such_host = 1,
  no_such_record,  // The name is there, but has no record of the kind.
  server_failed,
  refused,
  not_implemented,
  query_not_understood,
  bad_answer,
  bad_name,
  no_server,    // None could be reached.
  timed_out,    // None answered, however often it was asked. Equivalent to errc::timed_out.
  not_offered,  // SRV: the domain says that it has no such service.
};
const std::error_category& dns_category() noexcept;
inline std::error_code make_error_code(dns_errc e) noexcept { return {static_cast<int>(e), dns_category()}; }

struct resolver_options {
  std::vector<endpoint> servers{};                           // Empty: those of the configuration.
  std::optional<std::vector<std::string>> search_domains{};  // None: those of the configuration.
  std::optional<unsigned> ndots{};                           // Names with fewer dots are searched for first.
  std::chrono::milliseconds try_timeout{0};                  // Of the first round; doubled in each. 0: configuration's.
  unsigned tries = 0;                                        // Rounds over all servers. 0: the configuration's.
  std::string configuration_file = "/etc/resolv.conf";       // Empty: none.
  std::string hosts_file = "/etc/hosts";                     // Empty: none.
};

enum class address_family : unsigned char { any, v4, v6 };

struct resolve_options {
  address_family family = address_family::any;
  std::chrono::nanoseconds timeout{0};  // For all tries together, then errc::timed_out; zero or less: no limit.
};
struct query_options {
  std::chrono::nanoseconds timeout{0};  // The same.
};

struct srv_record {
  std::string target;
  std::uint16_t port = 0;
  std::uint16_t priority = 0;
  std::uint16_t weight = 0;
};
struct mx_record {
  std::string host;
  std::uint16_t preference = 0;
};

struct resolver_configuration;

// Cheap to copy; the copies share what it was made of, which does not change any more.
class resolver {
 public:
  // Reads the files here and now, which blocks the thread for a moment: do it at start-up, or in blocking(). A file
  // that is missing is as an empty one. Throws std::bad_alloc, and std::invalid_argument for a time-out below zero.
  explicit resolver(const resolver_options& options = {});

  // The addresses of a host, as endpoints with that port; at least one. A numeric address, "192.0.2.1" or "::1", is its
  // own, and asks nobody; then come the hosts file and "localhost" (RFC 6761), then the servers, for IPv4 and IPv6 at a
  // time, under the search domains as resolv.conf(5) has it; a dot at the end prevents that. Ordered as RFC 6724 wants
  // it, those of the hosts file as they are there.
  std::vector<endpoint> resolve(std::string_view host, std::uint16_t port, const resolve_options& options = {}) const;
  std::vector<endpoint> resolve(std::string_view host, std::uint16_t port, const resolve_options& options,
                                std::error_code& error) const;

  // Whole names, which are not searched for. Services, "_imap._tcp.example.org", are in the order in which they are to
  // be tried: by priority, then by chance as the weights want it (RFC 2782).
  std::vector<srv_record> query_srv(std::string_view name, const query_options& options = {}) const;
  std::vector<srv_record> query_srv(std::string_view name, const query_options& options, std::error_code& error) const;
  std::vector<mx_record> query_mx(std::string_view name, const query_options& options = {}) const;  // Best first.
  std::vector<mx_record> query_mx(std::string_view name, const query_options& options, std::error_code& error) const;
  std::vector<std::string> query_txt(std::string_view name, const query_options& options = {}) const;
  std::vector<std::string> query_txt(std::string_view name, const query_options& options, std::error_code& error) const;
  // The names of an address, whatever its port.
  std::vector<std::string> query_ptr(const endpoint& of, const query_options& options = {}) const;
  std::vector<std::string> query_ptr(const endpoint& of, const query_options& options, std::error_code& error) const;

  // For tasks, with <thrum/task.hpp>: co_await them. The resolver and the error_code must outlive the call. Throw or
  // report as the plain calls do.
  task<std::vector<endpoint>> async_resolve(std::string host, std::uint16_t port, resolve_options options = {}) const;
  task<std::vector<endpoint>> async_resolve(std::string host, std::uint16_t port, resolve_options options,
                                            std::error_code& error) const;
  task<std::vector<srv_record>> async_query_srv(std::string name, query_options options = {}) const;
  task<std::vector<srv_record>> async_query_srv(std::string name, query_options options, std::error_code& error) const;
  task<std::vector<mx_record>> async_query_mx(std::string name, query_options options = {}) const;
  task<std::vector<mx_record>> async_query_mx(std::string name, query_options options, std::error_code& error) const;
  task<std::vector<std::string>> async_query_txt(std::string name, query_options options = {}) const;
  task<std::vector<std::string>> async_query_txt(std::string name, query_options options, std::error_code& error) const;
  task<std::vector<std::string>> async_query_ptr(endpoint of, query_options options = {}) const;
  task<std::vector<std::string>> async_query_ptr(endpoint of, query_options options, std::error_code& error) const;

  // What it works with: of the options, of the files, and of c-ares' defaults.
  std::vector<endpoint> servers() const;
  std::vector<std::string> search_domains() const;

  // The library's.
  const resolver_configuration& configuration() const noexcept { return *configuration_; }

 private:
  std::shared_ptr<const resolver_configuration> configuration_;
};

// As connect(endpoints), with the addresses of a host. IPv4 and IPv6 addresses are asked for apart, and what is known
// of them is tried while the rest is still awaited: see connect_options::resolution_delay (RFC 8305, section 3). Names
// that are searched for under other domains first are resolved as by resolve(). Needs a fiber, its twin a task.
tcp_stream connect(const resolver& names, std::string_view host, std::uint16_t port,
                   const connect_options& options = {});
tcp_stream connect(const resolver& names, std::string_view host, std::uint16_t port, const connect_options& options,
                   std::error_code& error);

task<tcp_stream> async_connect(resolver names, std::string host, std::uint16_t port, connect_options options = {});
task<tcp_stream> async_connect(resolver names, std::string host, std::uint16_t port, connect_options options,
                               std::error_code& error);

}  // namespace thrum::net

template <>
struct std::is_error_code_enum<thrum::net::dns_errc> : std::true_type {};
