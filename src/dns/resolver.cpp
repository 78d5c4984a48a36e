// Resolvers, as fibers and threads use them.
#include <thrum/net/resolver.hpp>

#include "dns/configuration.hpp"
#include "dns/errors.hpp"
#include "dns/lookups.hpp"

namespace thrum::net {

resolver::resolver(const resolver_options& options)
    : configuration_(std::make_shared<const resolver_configuration>(options)) {}

std::vector<endpoint> resolver::servers() const { return configuration_->servers; }
std::vector<std::string> resolver::search_domains() const { return configuration_->domains; }

std::vector<endpoint> resolver::resolve(std::string_view host, std::uint16_t port, const resolve_options& options,
                                        std::error_code& error) const {
  if (!begin_dns_call(error)) return {};
  const auto deadline = dns_deadline_ns(options.timeout);
  auto known = configuration_->look_up(host, port, options.family, error);
  if (error || !known.empty()) return known;
  address_lookup l(*configuration_, std::string(host), port, options.family, error);
  l.over.run(l, deadline, error);
  return l.take(error);
}

std::vector<endpoint> resolver::resolve(std::string_view host, std::uint16_t port,
                                        const resolve_options& options) const {
  std::error_code error;
  auto found = resolve(host, port, options, error);
  if (error) raise_dns_error(error, host);
  return found;
}

// -----------------------------------------------------------------------------------------------------------------

namespace {

// The message that answers, or an error.
std::vector<unsigned char> ask(const resolver_configuration& with, std::string_view name, record_type type,
                               const query_options& options, std::error_code& error) {
  if (!begin_dns_call(error) || !check_record_name(name, error)) return {};
  const auto deadline = dns_deadline_ns(options.timeout);
  record_lookup l(with, std::string(name), type, error);
  l.over.run(l, deadline, error);
  return l.take(error);
}

}  // namespace

std::vector<srv_record> resolver::query_srv(std::string_view name, const query_options& options,
                                            std::error_code& error) const {
  return srv_records(ask(*configuration_, name, record_type::srv, options, error), error);
}

std::vector<srv_record> resolver::query_srv(std::string_view name, const query_options& options) const {
  std::error_code error;
  auto found = query_srv(name, options, error);
  if (error) raise_dns_error(error, name);
  return found;
}

std::vector<mx_record> resolver::query_mx(std::string_view name, const query_options& options,
                                          std::error_code& error) const {
  return mx_records(ask(*configuration_, name, record_type::mx, options, error), error);
}

std::vector<mx_record> resolver::query_mx(std::string_view name, const query_options& options) const {
  std::error_code error;
  auto found = query_mx(name, options, error);
  if (error) raise_dns_error(error, name);
  return found;
}

std::vector<std::string> resolver::query_txt(std::string_view name, const query_options& options,
                                             std::error_code& error) const {
  return txt_records(ask(*configuration_, name, record_type::txt, options, error), error);
}

std::vector<std::string> resolver::query_txt(std::string_view name, const query_options& options) const {
  std::error_code error;
  auto found = query_txt(name, options, error);
  if (error) raise_dns_error(error, name);
  return found;
}

std::vector<std::string> resolver::query_ptr(const endpoint& of, const query_options& options,
                                             std::error_code& error) const {
  if (!begin_dns_call(error)) return {};
  const auto deadline = dns_deadline_ns(options.timeout);
  name_lookup l(*configuration_, of, error);
  l.over.run(l, deadline, error);
  return l.take(error);
}

std::vector<std::string> resolver::query_ptr(const endpoint& of, const query_options& options) const {
  std::error_code error;
  auto found = query_ptr(of, options, error);
  if (error) raise_dns_error(error, of.to_string());
  return found;
}

}  // namespace thrum::net
