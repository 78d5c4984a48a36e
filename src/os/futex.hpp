// futex(2): how an OS thread waits for a 32-bit word to change, and membarrier(2), a fence in every thread.
#pragma once

#include <cstdint>

#include <thrum/detail/atomic.hpp>

namespace thrum::os {

inline constexpr std::int64_t no_deadline = INT64_MAX;

// Sleeps while word == expected, until woken or the absolute CLOCK_MONOTONIC deadline; may wake spuriously.
// False when the deadline has passed.
bool futex_wait(const detail::atomic<std::uint32_t>& word, std::uint32_t expected,
                std::int64_t deadline_ns = no_deadline) noexcept;
void futex_wake(const detail::atomic<std::uint32_t>& word, int count) noexcept;

// True when membarrier_private() is a full fence in every running thread of this process.
bool membarrier_register() noexcept;
void membarrier_private() noexcept;

}  // namespace thrum::os
