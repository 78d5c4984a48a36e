// The error_codes of a pool.
#pragma once

#include <system_error>

#include <thrum/process.hpp>
#include <thrum/worker_error.hpp>

namespace thrum::detail {

std::error_code pool_error(worker_errc e) noexcept;
std::error_code pool_error(worker_errc e, const exit_status& how_it_ended) noexcept;

}  // namespace thrum::detail
