// Errors of name resolution, in words.
#include "dns/errors.hpp"

#include <ares.h>

#include <thrum/cancelled.hpp>
#include <thrum/detail/deadline.hpp>
#include <thrum/fiber.hpp>
#include <thrum/net/resolver.hpp>

namespace thrum::net {
namespace {

class dns_category_type final : public std::error_category {
 public:
  const char* name() const noexcept override { return "thrum.dns"; }

  std::string message(int value) const override {
    switch (static_cast<dns_errc>(value)) {
      case dns_errc::no_such_host:
        return "no such host";
      case dns_errc::no_such_record:
        return "the name has no record of this kind";
      case dns_errc::server_failed:
        return "the name server failed";
      case dns_errc::refused:
        return "the name server refused to answer";
      case dns_errc::not_implemented:
        return "the name server does not answer queries of this kind";
      case dns_errc::query_not_understood:
        return "the name server did not understand the query";
      case dns_errc::bad_answer:
        return "the name server's answer makes no sense";
      case dns_errc::bad_name:
        return "this cannot be the name of a host";
      case dns_errc::no_server:
        return "no name server could be reached";
      case dns_errc::timed_out:
        return "no name server answered in time";
      case dns_errc::not_offered:
        return "the domain does not offer the service";
    }
    return "unknown error of name resolution";
  }

  std::error_condition default_error_condition(int value) const noexcept override {
    if (value == static_cast<int>(dns_errc::timed_out)) return std::errc::timed_out;
    return {value, *this};
  }
};

}  // namespace

const std::error_category& dns_category() noexcept {
  static const dns_category_type category;
  return category;
}

std::error_code dns_error(int ares_status) noexcept {
  switch (ares_status) {
    case ARES_ENOTFOUND:
      return dns_errc::no_such_host;
    case ARES_ENODATA:
      return dns_errc::no_such_record;
    case ARES_ESERVFAIL:
      return dns_errc::server_failed;
    case ARES_EREFUSED:
      return dns_errc::refused;
    case ARES_ENOTIMP:
      return dns_errc::not_implemented;
    case ARES_EFORMERR:
      return dns_errc::query_not_understood;
    case ARES_EBADNAME:
    case ARES_EBADSTR:
      return dns_errc::bad_name;
    case ARES_ECONNREFUSED:
      return dns_errc::no_server;
    case ARES_ETIMEOUT:
      return dns_errc::timed_out;
    case ARES_ENOMEM:
      return std::make_error_code(std::errc::not_enough_memory);
    default:
      return dns_errc::bad_answer;
  }
}

bool begin_dns_call(std::error_code& error) noexcept {
  error.clear();
  if (this_fiber::stop_requested()) error = std::make_error_code(std::errc::operation_canceled);
  return !error;
}

bool check_record_name(std::string_view name, std::error_code& error) noexcept {
  if (name.empty() || name.find('\0') != std::string_view::npos) error = dns_errc::bad_name;
  return !error;
}

std::int64_t dns_deadline_ns(std::chrono::nanoseconds timeout) noexcept {
  return timeout.count() > 0 ? detail::deadline_after(timeout) : detail::never;
}

void raise_dns_error(const std::error_code& error, std::string_view name) {
  if (error == std::errc::operation_canceled) throw cancelled{};
  throw std::system_error(error, "thrum: cannot resolve " + std::string(name));
}

}  // namespace thrum::net
