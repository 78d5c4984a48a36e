// The spinlock of an object that activities share. Whoever takes it touches the object (touch.hpp).
#pragma once

#include <thrum/detail/spinlock.hpp>
#include <thrum/detail/touch.hpp>

namespace thrum::detail {

class object_lock : public spinlock {
 public:
  void lock() noexcept {
    touch();
    spinlock::lock();
  }
  bool try_lock() = delete;  // Nobody needs it.

  // For operations on the object that go without the lock.
  void touch() const noexcept { detail::touch(this); }
};

}  // namespace thrum::detail
