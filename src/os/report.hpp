// Writing diagnostics to standard error without memory, locks or stdio; safe in signal handlers.
#pragma once

#include <cstdarg>

namespace thrum::os {

// Formats into a fixed buffer (1 KiB a call) and writes it with one write(2).
[[gnu::format(printf, 1, 2)]] void report(const char* format, ...) noexcept;
void vreport(const char* format, std::va_list args) noexcept;

}  // namespace thrum::os
