// The runtime's only thread_local that fibers see; read by the assembly in self.hpp.
#include "sched/self.hpp"

extern "C" {
[[gnu::used, gnu::visibility("hidden"),
  gnu::tls_model("initial-exec")]] thread_local thrum::sched::worker* thrum_this_worker = nullptr;
}

namespace thrum::sched {

void set_this_worker(worker* w) noexcept { thrum_this_worker = w; }

}  // namespace thrum::sched
