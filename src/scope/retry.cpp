// The pauses of retry.
#include <thrum/retry.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <stdexcept>

#include <thrum/fiber.hpp>

#include "sched/wait.hpp"

namespace thrum::detail {

backoff::backoff(const retry_options& options)
    : options_(options),
      attempts_left_(options.attempts),
      delay_ns_(static_cast<double>(std::min(options.first_delay, options.max_delay).count())) {
  const bool sane = options.attempts > 0 && options.first_delay.count() >= 0 && options.max_delay.count() >= 0 &&
                    options.factor >= 1 && std::isfinite(options.factor) && options.jitter >= 0 && options.jitter <= 1;
  if (!sane) throw std::invalid_argument("thrum: retry: attempts, delays, factor or jitter out of range");
}

std::chrono::nanoseconds backoff::next_pause() noexcept {
  const double random = sched::random_below(UINT32_MAX) / static_cast<double>(UINT32_MAX);
  const double share = 1 - options_.jitter * random;
  const std::chrono::nanoseconds delay(static_cast<std::int64_t>(delay_ns_ * share));
  delay_ns_ = std::min(delay_ns_ * options_.factor, static_cast<double>(options_.max_delay.count()));
  return delay;
}

void backoff::pause() { this_fiber::sleep_for(next_pause()); }

}  // namespace thrum::detail
