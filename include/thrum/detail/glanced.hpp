// A value that a lock guards and that may be looked at without it, by who goes on to take the lock or does not care:
// what is seen may be outdated. Where it is read and written under the lock it costs what a plain value costs.
#pragma once

#include <atomic>

namespace thrum::detail {

template <class T>
class glanced {
 public:
  constexpr glanced(T value = {}) noexcept : value_(value) {}
  operator T() const noexcept { return value_.load(std::memory_order_relaxed); }
  T operator->() const noexcept { return *this; }
  T operator=(T value) noexcept {
    value_.store(value, std::memory_order_relaxed);
    return value;
  }

 private:
  std::atomic<T> value_;
};

}  // namespace thrum::detail
