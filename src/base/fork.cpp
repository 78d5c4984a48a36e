// The sentence with which a forked child ends.
#include "base/fork.hpp"

#include "base/assert.hpp"

namespace thrum::base {

std::atomic<bool> forked_away{false};

void die_after_fork() noexcept {
  panic("a thrum call after fork() without exec: the child has none of the runtime's threads");
}

}  // namespace thrum::base
