// Asked by the operators of sim_allocations.hpp, which this does not include: it would replace them in the library.
#include "sim/allocations.hpp"

#include <atomic>

#include "sched/scheduler.hpp"
#include "sim/world.hpp"

namespace thrum {
namespace {

std::atomic<bool> counted{false};
std::atomic<sim::world*> watched{
    nullptr};  // One at a time: simulations side by side are not for running out of memory.
std::atomic<int> unwatched{0};

}  // namespace

namespace detail {

bool sim_count_allocations() noexcept { return counted = true; }

bool sim_allocation_fails() noexcept {
  auto* w = watched.load(std::memory_order_relaxed);
  if (!w || unwatched.load(std::memory_order_relaxed) > 0) return false;
  auto* here = sched::this_worker();
  return here && w->runs_on(here->home) && w->allocation_fails();
}

}  // namespace detail

namespace sim {

bool allocations_are_counted() noexcept { return counted; }

watched_allocations::watched_allocations(world& w) noexcept { watched = &w; }
watched_allocations::~watched_allocations() { watched = nullptr; }

own_allocations::own_allocations() noexcept { unwatched.fetch_add(1, std::memory_order_relaxed); }
own_allocations::~own_allocations() { unwatched.fetch_sub(1, std::memory_order_relaxed); }

}  // namespace sim
}  // namespace thrum
