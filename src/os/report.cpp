// The report writer: vsnprintf into a stack buffer, then write(2) until everything is out.
#include "os/report.hpp"

#include <cerrno>
#include <cstdio>

#include <unistd.h>

namespace thrum::os {

void vreport(const char* format, std::va_list args) noexcept {
  const int saved = errno;
  char text[1024];
  int length = std::vsnprintf(text, sizeof text, format, args);
  if (length >= static_cast<int>(sizeof text)) length = sizeof text - 1;
  for (int done = 0; done < length;) {
    const auto n = ::write(STDERR_FILENO, text + done, static_cast<std::size_t>(length - done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    done += static_cast<int>(n);
  }
  errno = saved;
}

void report(const char* format, ...) noexcept {
  std::va_list args;
  va_start(args, format);
  vreport(format, args);
  va_end(args);
}

}  // namespace thrum::os
