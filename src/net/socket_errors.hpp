// What a system call has told by errno.
#pragma once

#include <cerrno>
#include <system_error>

#include "os/errno.hpp"

namespace thrum::net {

inline bool try_again(int error) noexcept { return error == EAGAIN || error == EINTR; }

inline std::error_code last_error() noexcept { return {os::error_number(), std::generic_category()}; }

}  // namespace thrum::net
