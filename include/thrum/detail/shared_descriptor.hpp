// A descriptor that some may use while another closes it. It is given back to the system when the last of them has
// left: until then nobody else gets its number, so that no call ever meets another's file. The idea is Go's (fdMutex).
#pragma once

#include <cstdint>

#include <thrum/detail/atomic.hpp>

namespace thrum::detail {

class shared_descriptor {
 public:
  shared_descriptor() noexcept = default;
  explicit shared_descriptor(int fd) noexcept : state_(fd < 0 ? closed : static_cast<std::uint64_t>(fd)) {}

  // -1: it is closed, or never was open.
  int number() const noexcept { return number_in(state_.load(std::memory_order_relaxed)); }

  // The same; unless it is -1, leave() must follow.
  int enter() noexcept {
    auto s = state_.load(std::memory_order_relaxed);
    while (!(s & closed))
      if (state_.compare_exchange_weak(s, s + user, std::memory_order_relaxed)) break;
    return number_in(s);
  }
  // True: from now on nobody can enter; the caller is inside. False: it was closed already.
  bool close() noexcept {
    auto s = state_.load(std::memory_order_relaxed);
    while (!(s & closed))
      if (state_.compare_exchange_weak(s, (s | closed) + user, std::memory_order_relaxed)) return true;
    return false;
  }
  // True: it is closed, and the caller was the last inside, behind all that the others did there, and is to give
  // closed_number() back.
  bool leave() noexcept {
    const auto s = state_.fetch_sub(user, std::memory_order_acq_rel);
    return (s & closed) && s / user == 1;
  }
  int closed_number() const noexcept { return static_cast<int>(state_.load(std::memory_order_relaxed) & number_mask); }

  // While nobody else uses either.
  void swap(shared_descriptor& other) noexcept {
    const auto s = state_.load(std::memory_order_relaxed);
    state_.store(other.state_.load(std::memory_order_relaxed), std::memory_order_relaxed);
    other.state_.store(s, std::memory_order_relaxed);
  }

 private:
  // Bits 0 to 30: the number; 31: closed; from 32 on: how many are inside.
  static constexpr std::uint64_t closed = 1ULL << 31, number_mask = closed - 1, user = 1ULL << 32;
  static int number_in(std::uint64_t s) noexcept { return (s & closed) ? -1 : static_cast<int>(s & number_mask); }

  atomic<std::uint64_t> state_{closed};
};

}  // namespace thrum::detail
