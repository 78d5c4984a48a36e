// The channels that one writes for threads when there is no library: a mutex and condition variables.
#pragma once
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <optional>

// A rendezvous: send returns once a receiver has taken the value.
template <class T>
class unbuffered {
 public:
  void send(T value) {
    std::unique_lock lock(mutex_);
    empty_.wait(lock, [&] { return !slot_ && !taken_; });
    slot_ = value;
    filled_.notify_one();
    handed_.wait(lock, [&] { return taken_; });
    taken_ = false;
    empty_.notify_one();
  }

  T receive() {
    std::unique_lock lock(mutex_);
    filled_.wait(lock, [&] { return slot_.has_value(); });
    return take();
  }

  template <class Duration>
  std::optional<T> receive_for(Duration limit) {
    std::unique_lock lock(mutex_);
    if (!filled_.wait_for(lock, limit, [&] { return slot_.has_value(); })) return std::nullopt;
    return take();
  }

 private:
  T take() {
    T value = *slot_;
    slot_.reset();
    taken_ = true;
    handed_.notify_one();
    return value;
  }

  std::mutex mutex_;
  std::condition_variable empty_, filled_, handed_;
  std::optional<T> slot_;
  bool taken_ = false;  // the value in flight has been taken, but its sender does not know yet
};

template <class T>
class buffered {
 public:
  explicit buffered(std::size_t capacity) : capacity_(capacity) {}

  void send(T value) {
    std::unique_lock lock(mutex_);
    not_full_.wait(lock, [&] { return queue_.size() < capacity_; });
    queue_.push_back(value);
    not_empty_.notify_one();
  }

  bool try_send(T value) {
    std::lock_guard lock(mutex_);
    if (queue_.size() >= capacity_) return false;
    queue_.push_back(value);
    not_empty_.notify_one();
    return true;
  }

  // False once the channel is closed and drained.
  bool receive(T& value) {
    std::unique_lock lock(mutex_);
    not_empty_.wait(lock, [&] { return !queue_.empty() || closed_; });
    if (queue_.empty()) return false;
    value = queue_.front();
    queue_.pop_front();
    not_full_.notify_one();
    return true;
  }

  void close() {
    std::lock_guard lock(mutex_);
    closed_ = true;
    not_empty_.notify_all();
  }

 private:
  const std::size_t capacity_;
  std::mutex mutex_;
  std::condition_variable not_full_, not_empty_;
  std::deque<T> queue_;
  bool closed_ = false;
};

// A queue under a mutex that nobody waits at, so it has no condition variables: the least that try_push and try_pop
// between threads cost.
template <class T>
class guarded_queue {
 public:
  explicit guarded_queue(std::size_t capacity) : capacity_(capacity) {}

  bool try_push(T value) {
    std::lock_guard lock(mutex_);
    if (queue_.size() >= capacity_) return false;
    queue_.push_back(value);
    return true;
  }

  std::optional<T> try_pop() {
    std::lock_guard lock(mutex_);
    if (queue_.empty()) return std::nullopt;
    T value = queue_.front();
    queue_.pop_front();
    return value;
  }

 private:
  const std::size_t capacity_;
  std::mutex mutex_;
  std::deque<T> queue_;
};
