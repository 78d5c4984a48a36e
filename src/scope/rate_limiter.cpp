// The rate limiter: a bucket that is filled whenever somebody looks at it, and a queue.
//
// Who finds too little, or others waiting, queues for the turn; who has it sleeps until the bucket holds what it wants.
// So the queue is the semaphore's, first in, first out, and one timer is armed at a time.
#include <thrum/rate_limiter.hpp>

#include <algorithm>
#include <cmath>
#include <mutex>
#include <stdexcept>

#include "base/assert.hpp"
#include "sched/wait.hpp"

namespace thrum {
namespace {

constexpr double longest_ns = 9e18;  // Some 285 years; more is for ever.

}  // namespace

rate_limiter::rate_limiter(const rate_limiter_options& options)
    : per_ns_(options.per_second / 1e9),
      burst_(options.burst),
      units_(static_cast<double>(options.burst)),
      as_of_ns_(detail::now_ns()) {
  if (!(options.per_second > 0) || !std::isfinite(options.per_second) || options.burst == 0)
    throw std::invalid_argument("thrum: a rate_limiter needs a finite rate above zero and a burst of at least one");
}

rate_limiter::~rate_limiter() {
  std::lock_guard held(lock_);
  if (waiting_ != 0) base::panic("a rate_limiter is destroyed while somebody waits");
}

std::size_t rate_limiter::checked(std::size_t units) const {
  if (units > burst_) throw std::invalid_argument("thrum: rate_limiter: more units than a burst would never be there");
  return units;
}

// Under the lock. Zero: taken. Otherwise the time when there will be enough.
std::int64_t rate_limiter::take_or_tell_when(std::size_t units) noexcept {
  const auto now = detail::now_ns();
  const auto wanted = static_cast<double>(units);
  units_ = std::min(static_cast<double>(burst_), units_ + static_cast<double>(now - as_of_ns_) * per_ns_);
  as_of_ns_ = now;
  if (units_ >= wanted) {
    units_ -= wanted;
    return 0;
  }
  const double missing_ns = std::ceil((wanted - units_) / per_ns_);
  if (missing_ns > longest_ns - static_cast<double>(now)) return detail::never;
  return now + static_cast<std::int64_t>(missing_ns);
}

bool rate_limiter::try_acquire(std::size_t units) {
  checked(units);
  std::lock_guard held(lock_);
  return waiting_ == 0 && take_or_tell_when(units) == 0;
}

// True: taken. False: the caller counts among those who wait, until it leaves.
bool rate_limiter::take_or_queue(std::size_t units) noexcept {
  std::lock_guard held(lock_);
  if (waiting_ == 0 && take_or_tell_when(units) == 0) return true;
  ++waiting_;
  return false;
}

std::int64_t rate_limiter::take_in_turn(std::size_t units) noexcept {
  std::lock_guard held(lock_);
  return take_or_tell_when(units);
}

void rate_limiter::leave_queue(bool was_first) noexcept {
  {
    std::lock_guard held(lock_);
    --waiting_;
  }
  if (was_first) turn_.release(1);
}

bool rate_limiter::acquire_until_ns(std::size_t units, std::int64_t deadline_ns) {
  checked(units);
  sched::waiting w(sched::cancellation::point);
  if (take_or_queue(units)) return true;
  place mine{*this};
  mine.first = turn_.acquire_until_ns(deadline_ns);
  return mine.first && wait_for_units(units, deadline_ns);
}

// In its turn.
bool rate_limiter::wait_for_units(std::size_t units, std::int64_t deadline_ns) {
  for (;;) {
    const auto when = take_in_turn(units);
    if (when == 0) return true;
    if (when > deadline_ns) return false;
    static constexpr sched::wait_kind kind{"a rate limiter"};
    sched::wait_for_time(when, {&kind, this});
  }
}

}  // namespace thrum
