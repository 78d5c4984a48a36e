// A plain object whose races the explorer reports.
#pragma once

#include "memory_model/explorer.hpp"
#include "memory_model/memory.hpp"

namespace thrum::memory_model {

template <class T>
class plain {
 public:
  plain() = default;
  explicit plain(T v) : value_(v) {}

  T get(const site& s = site::current()) const noexcept {
    access_plain(history_, false, s);
    return value_;
  }
  void set(T v, const site& s = site::current()) noexcept {
    access_plain(history_, true, s);
    value_ = v;
  }

 private:
  T value_{};
  mutable plain_history history_;
};

}  // namespace thrum::memory_model
