// The runtime's only thread_local that fibers see, behind accessors that cannot be inlined or folded.
#include "sched/self.hpp"

namespace thrum::sched {
namespace {

[[gnu::tls_model("initial-exec")]] thread_local worker* self = nullptr;

}  // namespace

worker* this_worker() noexcept {
  asm volatile("" ::: "memory");
  return self;
}

void set_this_worker(worker* w) noexcept { self = w; }

}  // namespace thrum::sched
