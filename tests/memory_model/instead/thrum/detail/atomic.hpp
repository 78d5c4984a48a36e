// Stands in for include/thrum/detail/atomic.hpp: objects whose every access the explorer decides. Outside an execution
// they are plain values.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "memory_model/explorer.hpp"

namespace thrum::detail {

template <class T>
class atomic {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8);
  using site = memory_model::site;

 public:
  constexpr atomic() noexcept : atomic(T{}) {}
  constexpr atomic(T v) noexcept : value_(v) {
    if (!std::is_constant_evaluated()) memory_model::created(this, bits(v));
  }
  constexpr ~atomic() {
    if (!std::is_constant_evaluated()) memory_model::destroyed(this);
  }
  atomic(const atomic&) = delete;
  atomic& operator=(const atomic&) = delete;

  T load(std::memory_order o = std::memory_order_seq_cst, site s = site::current()) const noexcept {
    return value(memory_model::load(this, bits(value_), o, s));
  }
  void store(T v, std::memory_order o = std::memory_order_seq_cst, site s = site::current()) noexcept {
    memory_model::store(this, bits(value_), bits(v), o, s);
    value_ = v;
  }
  T exchange(T v, std::memory_order o = std::memory_order_seq_cst, site s = site::current()) noexcept {
    return change([v](T) { return v; }, o, s);
  }
  bool compare_exchange_strong(T& expected, T v, std::memory_order success, std::memory_order failure,
                               site s = site::current()) noexcept {
    const auto read = memory_model::modify(
        this, bits(value_),
        [&](std::uint64_t seen, std::uint64_t& stored) {
          stored = bits(v);
          return seen == bits(expected);
        },
        success, failure, s);
    if (read != bits(expected)) {
      expected = value(read);
      return false;
    }
    value_ = v;
    return true;
  }
  bool compare_exchange_strong(T& expected, T v, std::memory_order o = std::memory_order_seq_cst,
                               site s = site::current()) noexcept {
    return compare_exchange_strong(expected, v, o, for_failure(o), s);
  }
  bool compare_exchange_weak(T& expected, T v, std::memory_order success, std::memory_order failure,
                             site s = site::current()) noexcept {
    if (memory_model::fails_spuriously()) {
      expected = load(failure, s);
      return false;
    }
    return compare_exchange_strong(expected, v, success, failure, s);
  }
  bool compare_exchange_weak(T& expected, T v, std::memory_order o = std::memory_order_seq_cst,
                             site s = site::current()) noexcept {
    return compare_exchange_weak(expected, v, o, for_failure(o), s);
  }

  T fetch_add(T n, std::memory_order o = std::memory_order_seq_cst, site s = site::current()) noexcept {
    return change([n](T v) { return static_cast<T>(v + n); }, o, s);
  }
  T fetch_sub(T n, std::memory_order o = std::memory_order_seq_cst, site s = site::current()) noexcept {
    return change([n](T v) { return static_cast<T>(v - n); }, o, s);
  }
  T fetch_or(T n, std::memory_order o = std::memory_order_seq_cst, site s = site::current()) noexcept {
    return change([n](T v) { return static_cast<T>(v | n); }, o, s);
  }
  T fetch_and(T n, std::memory_order o = std::memory_order_seq_cst, site s = site::current()) noexcept {
    return change([n](T v) { return static_cast<T>(v & n); }, o, s);
  }

 private:
  static constexpr std::memory_order for_failure(std::memory_order o) noexcept {
    return o == std::memory_order_acq_rel   ? std::memory_order_acquire
           : o == std::memory_order_release ? std::memory_order_relaxed
                                            : o;
  }
  static std::uint64_t bits(T v) noexcept {
    std::uint64_t b = 0;
    std::memcpy(&b, &v, sizeof v);
    return b;
  }
  static T value(std::uint64_t b) noexcept {
    T v;
    std::memcpy(&v, &b, sizeof v);
    return v;
  }
  template <class Change>
  T change(Change next, std::memory_order o, const site& s) noexcept {
    const auto read = memory_model::modify(
        this, bits(value_),
        [&](std::uint64_t seen, std::uint64_t& stored) {
          stored = bits(next(value(seen)));
          return true;
        },
        o, for_failure(o), s);
    value_ = next(value(read));
    return value(read);
  }

  T value_;  // Outside executions; in one, the initial value.
};

inline void atomic_thread_fence(std::memory_order o, memory_model::site s = memory_model::site::current()) noexcept {
  memory_model::fence(o, s);
}

}  // namespace thrum::detail
