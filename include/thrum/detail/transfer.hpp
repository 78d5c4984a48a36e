// What calls that move bytes through any stream share: how they begin, and how they report.
#pragma once

#include <system_error>

namespace thrum::detail {

// Gives way if it is time. False, with operation_canceled, in a cancelled scope: what lies in a buffer already is
// subject to cancellation as well.
bool begin_transfer(std::error_code& error) noexcept;
// The same for tasks.
bool async_begin_transfer(std::error_code& error);

// Throws cancelled for operation_canceled, and std::system_error for every other error.
[[noreturn]] void raise_transfer(const std::error_code& error, const char* what);
inline void raise_if(const std::error_code& error, const char* what) {
  if (error) raise_transfer(error, what);
}

}  // namespace thrum::detail
