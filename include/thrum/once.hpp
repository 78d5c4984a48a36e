// Doing something once, as std::call_once, for fibers and plain threads.
//
//   thrum::once_flag loaded;
//   thrum::call_once(loaded, [] { load_tables(); });  // May itself suspend.
//
// Those who come meanwhile wait until it is done; that suspends and is a cancellation point. If the function throws,
// the exception goes to its caller and the next in line tries. Once it is done, call_once is one load and checks for
// nothing. Calling it from within its own function ends the process with one clear sentence.
#pragma once

#include <cstdint>
#include <functional>
#include <utility>

#include <thrum/detail/async.hpp>
#include <thrum/detail/atomic.hpp>
#include <thrum/detail/wait_queue.hpp>

namespace thrum {

namespace detail {
struct once_access;
}

class once_flag {
 public:
  constexpr once_flag() noexcept = default;
  ~once_flag();  // Ends the process when somebody waits.
  once_flag(const once_flag&) = delete;
  once_flag& operator=(const once_flag&) = delete;

 private:
  template <class F, class... Args>
  friend void call_once(once_flag& flag, F&& f, Args&&... args);

  static constexpr std::uintptr_t nobody = 0, done = 1;

  friend struct detail::once_access;

  bool settled(std::uintptr_t self, bool& runs) noexcept;
  bool begin();  // Waits. True: the caller is to run the function and to call end().
  bool begin_wait(detail::async_wait& w);
  bool end_wait(detail::async_wait& w);
  void end(bool succeeded) noexcept;

  detail::atomic<std::uintptr_t> state_{nobody};  // Or who runs the function. Changes under queue_.lock.
  detail::wait_queue queue_;
};

template <class F, class... Args>
void call_once(once_flag& flag, F&& f, Args&&... args) {
  flag.queue_.lock.touch();
  // Acquire pairs with end(): what the function did is visible.
  if (flag.state_.load(std::memory_order_acquire) == once_flag::done || !flag.begin()) return;
  struct ending {
    once_flag& flag;
    bool succeeded = false;
    ~ending() { flag.end(succeeded); }
  } e{flag};
  std::invoke(std::forward<F>(f), std::forward<Args>(args)...);
  e.succeeded = true;
}

}  // namespace thrum
