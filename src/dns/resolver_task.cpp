// The twins of resolver.cpp's calls for tasks.
#include <thrum/net/resolver.hpp>
#include <thrum/task.hpp>

#include "dns/configuration.hpp"
#include "dns/errors.hpp"
#include "dns/lookups.hpp"

namespace thrum::net {

task<std::vector<endpoint>> resolver::async_resolve(std::string host, std::uint16_t port, resolve_options options,
                                                    std::error_code& error) const {
  if (!begin_dns_call(error)) co_return std::vector<endpoint>();
  const auto deadline = dns_deadline_ns(options.timeout);
  auto known = configuration_->look_up(host, port, options.family, error);
  if (error || !known.empty()) co_return known;
  address_lookup l(*configuration_, host, port, options.family, error);
  co_await l.over.async_run(l, deadline, error);
  co_return l.take(error);
}

task<std::vector<endpoint>> resolver::async_resolve(std::string host, std::uint16_t port,
                                                    resolve_options options) const {
  std::error_code error;
  auto found = co_await async_resolve(host, port, options, error);
  if (error) raise_dns_error(error, host);
  co_return found;
}

// -----------------------------------------------------------------------------------------------------------------

static task<std::vector<unsigned char>> async_ask(const resolver_configuration& with, const std::string& name,
                                                  record_type type, query_options options, std::error_code& error) {
  if (!begin_dns_call(error) || !check_record_name(name, error)) co_return std::vector<unsigned char>();
  const auto deadline = dns_deadline_ns(options.timeout);
  record_lookup l(with, name, type, error);
  co_await l.over.async_run(l, deadline, error);
  co_return l.take(error);
}

task<std::vector<srv_record>> resolver::async_query_srv(std::string name, query_options options,
                                                        std::error_code& error) const {
  const auto message = co_await async_ask(*configuration_, name, record_type::srv, options, error);
  co_return srv_records(message, error);
}

task<std::vector<srv_record>> resolver::async_query_srv(std::string name, query_options options) const {
  std::error_code error;
  auto found = co_await async_query_srv(name, options, error);
  if (error) raise_dns_error(error, name);
  co_return found;
}

task<std::vector<mx_record>> resolver::async_query_mx(std::string name, query_options options,
                                                      std::error_code& error) const {
  const auto message = co_await async_ask(*configuration_, name, record_type::mx, options, error);
  co_return mx_records(message, error);
}

task<std::vector<mx_record>> resolver::async_query_mx(std::string name, query_options options) const {
  std::error_code error;
  auto found = co_await async_query_mx(name, options, error);
  if (error) raise_dns_error(error, name);
  co_return found;
}

task<std::vector<std::string>> resolver::async_query_txt(std::string name, query_options options,
                                                         std::error_code& error) const {
  const auto message = co_await async_ask(*configuration_, name, record_type::txt, options, error);
  co_return txt_records(message, error);
}

task<std::vector<std::string>> resolver::async_query_txt(std::string name, query_options options) const {
  std::error_code error;
  auto found = co_await async_query_txt(name, options, error);
  if (error) raise_dns_error(error, name);
  co_return found;
}

task<std::vector<std::string>> resolver::async_query_ptr(endpoint of, query_options options,
                                                         std::error_code& error) const {
  if (!begin_dns_call(error)) co_return std::vector<std::string>();
  const auto deadline = dns_deadline_ns(options.timeout);
  name_lookup l(*configuration_, of, error);
  co_await l.over.async_run(l, deadline, error);
  co_return l.take(error);
}

task<std::vector<std::string>> resolver::async_query_ptr(endpoint of, query_options options) const {
  std::error_code error;
  auto found = co_await async_query_ptr(of, options, error);
  if (error) raise_dns_error(error, of.to_string());
  co_return found;
}

}  // namespace thrum::net
