// Closing a descriptor.
#include <thrum/net/descriptor.hpp>

#include <unistd.h>

#include "net/patience.hpp"

namespace thrum::net {

void descriptor::close() noexcept {
  if (fd_ < 0) return;
  ::close(release());
  descriptor_freed();
}

}  // namespace thrum::net
