// c-ares' results as errors, and what every call of a resolver begins and ends with.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>

namespace thrum::net {

// Of a status that is no success.
std::error_code dns_error(int ares_status) noexcept;

// False: it is cancelled already, and has not happened.
bool begin_dns_call(std::error_code& error) noexcept;
// c-ares looks at the rest of a name.
bool check_record_name(std::string_view name, std::error_code& error) noexcept;
std::int64_t dns_deadline_ns(std::chrono::nanoseconds timeout) noexcept;
// "thrum: cannot resolve NAME"
[[noreturn]] void raise_dns_error(const std::error_code& error, std::string_view name);

}  // namespace thrum::net
