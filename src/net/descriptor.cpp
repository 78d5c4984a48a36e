// Closing a descriptor.
#include <thrum/net/descriptor.hpp>

#include "net/patience.hpp"
#include "net/system_calls.hpp"

namespace thrum::net {

void descriptor::close() noexcept {
  if (fd_ < 0) return;
  system::close(release());
  descriptor_freed();
}

}  // namespace thrum::net
