// The accessor that cannot be inlined or folded.
#include "os/errno.hpp"

#include <cerrno>

namespace thrum::os {

int error_number() noexcept {
  asm volatile("" ::: "memory");
  return errno;
}

void set_error_number(int error) noexcept {
  errno = error;
  asm volatile("" ::: "memory");
}

}  // namespace thrum::os
