// Who belongs to a guest, and its end.
#include "runtime/guest.hpp"

#include <mutex>
#include <stdexcept>
#include <system_error>

#include <thrum/detail/deadline.hpp>

#include "base/assert.hpp"
#include "runtime/locals.hpp"
#include "sched/cancel.hpp"
#include "sched/task_wait.hpp"

namespace thrum::detail {
namespace {

constexpr sched::wait_kind awaited_family{"the fibers of a runtime to end"};

}  // namespace

guest::guest(sched::scheduler& host, const runtime_options& o)
    : host_(host), host_serial_(host.serial()), fibers_max_(o.fibers_max), grace_(o.grace) {
  if (o.stack_size > host.default_stacks().stack_size())
    throw std::invalid_argument("thrum: a runtime in a simulated program wants larger stacks than the simulation has");
}

sched::scheduler& guest::host() const noexcept {
  const auto* w = sched::this_worker();
  if (!w || w->home.serial() != host_serial_)
    base::panic("a runtime that was made in a simulated program is used outside of it: by a thread, or after its end");
  return host_;
}

void guest::admit(sched::activity& a) {
  if (members_ >= fibers_max_)
    throw std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again),
                            "thrum: no room for another fiber (fibers_max)");
  ++members_;
  if (ending_) sched::stop(a);
}

// Whoever waits in end() may destroy the guest once it is woken: the lock is released before.
void guest::leave() noexcept {
  sched::runnable_batch batch;
  {
    const std::lock_guard held(empty_.lock);
    if (--members_ == 0) sched::claim_all(empty_.waiters, batch);
  }
  sched::make_runnable(batch);
}

void guest::end() noexcept {
  ending_ = true;
  host().for_each_alive([this](sched::activity& a) {
    if (guest_of(a) == this) sched::stop(a);
  });
  if (!sched::wait_until(
          empty_, [this] { return members_ == 0; }, deadline_after(grace_), {&awaited_family, this},
          sched::cancellation::none))
    host_.host()->fail("fibers of a runtime still run after its grace period, although they are cancelled");
}

starting_in::starting_in(guest* g) : is_guest_(g != nullptr) {
  if (!is_guest_) return;
  (void)g->host();
  before_ = set_my_guest(g);
}

starting_in::~starting_in() {
  if (is_guest_) set_my_guest(before_);
}

}  // namespace thrum::detail
