// The producing end of a future, for results that come from a callback, another thread or another library.
//
//   thrum::promise<int> p;
//   thrum::future<int> f = p.get_future();
//   library_call([p = std::move(p)](int v) mutable { p.set_value(v); });
//   use(f.get());
//
// Nothing here suspends. The setting functions may be called by any thread, also by several: the first one wins. Once
// set, nothing of the promise is touched any more, so whoever got the value may destroy it.
//
// The names are std's.
#pragma once

#include <exception>
#include <memory>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include <thrum/future.hpp>

namespace thrum {

// A second result for the same future.
class promise_already_satisfied : public future_error {
 public:
  promise_already_satisfied() : future_error("thrum: the promise has a result already") {}
};

// A second get_future().
class future_already_retrieved : public future_error {
 public:
  future_already_retrieved() : future_error("thrum: the promise's future was taken before") {}
};

template <class T>
class promise {
 public:
  promise() : state_(std::make_shared<detail::future_state<T>>()) {}
  promise(promise&& other) noexcept
      : state_(std::move(other.state_)), retrieved_(std::exchange(other.retrieved_, false)) {}
  promise& operator=(promise&& other) noexcept {
    promise(std::move(other)).swap(*this);
    return *this;
  }
  // Without a result, its future gets broken_promise.
  ~promise() {
    if (state_ && state_->become_producer()) state_->complete(detail::broken_promise_failure());
  }
  void swap(promise& other) noexcept {
    std::swap(state_, other.state_);
    std::swap(retrieved_, other.retrieved_);
  }

  // Once; share() it for many. Throws future_already_retrieved, no_state.
  future<T> get_future() {
    if (!state_) throw no_state();
    if (std::exchange(retrieved_, true)) throw future_already_retrieved();
    return future<T>(state_);
  }

  // Throw promise_already_satisfied, no_state, and what storing the value throws: then there is no result yet.
  template <class U = T>
  requires std::is_convertible_v<U&&, T>
  void set_value(U&& v) {
    satisfy([&](auto& state) {
      state.store(std::forward<U>(v));
      return std::exception_ptr();
    });
  }
  void set_value() requires std::is_void_v<T> {
    satisfy([](auto&) { return std::exception_ptr(); });
  }
  // Null counts as a promise that was broken.
  void set_exception(std::exception_ptr failure) {
    satisfy([&](auto&) { return failure ? std::move(failure) : detail::broken_promise_failure(); });
  }

 private:
  template <class Store>
  void satisfy(Store store) {
    if (!state_) throw no_state();
    const auto state = state_;  // *this may be gone once it is complete.
    if (!state->become_producer()) throw promise_already_satisfied();
    std::exception_ptr failure;
    try {
      failure = store(*state);
    } catch (...) {
      state->resign_as_producer();
      throw;
    }
    state->complete(std::move(failure));
  }

  std::shared_ptr<detail::future_state<T>> state_;
  bool retrieved_ = false;
};

}  // namespace thrum
