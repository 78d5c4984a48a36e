// What co_await of a channel's twins works with.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include <thrum/detail/async.hpp>
#include <thrum/detail/channel_core.hpp>
#include <thrum/select.hpp>

namespace thrum::detail {

// Throws channel_closed when it was not sent for that reason.
bool was_sent(channel_result r);

template <bool Timed>
class channel_awaiter : public suspends_task {
 public:
  channel_awaiter(const channel_awaiter&) = delete;
  channel_awaiter& operator=(const channel_awaiter&) = delete;

 protected:
  struct no_timer {};

  channel_awaiter(channel_core* c, std::int64_t deadline_ns) noexcept {
    wait_.core = c;  // Kept alive by the channel that the caller holds meanwhile.
    if constexpr (Timed) timer_.set_deadline_ns(deadline_ns);
  }
  std::int64_t deadline_ns() const noexcept {
    if constexpr (Timed)
      return timer_.deadline_ns();
    else
      return never;
  }
  async_timer* timer() noexcept {
    if constexpr (Timed)
      return &timer_;
    else
      return nullptr;
  }

  channel_wait wait_;
  [[no_unique_address]] std::conditional_t<Timed, async_timer, no_timer> timer_;
};

// Gives whether it was sent, when it has a deadline.
template <class T, bool Timed>
class [[nodiscard]] send_awaiter : public channel_awaiter<Timed> {
 public:
  send_awaiter(channel_core* c, T&& v, std::int64_t deadline_ns) noexcept
      : channel_awaiter<Timed>(c, deadline_ns), value_(std::move(v)) {}
  bool await_ready() {
    return begin_channel_send(this->wait_, std::addressof(value_), this->timer(), this->deadline_ns());
  }
  auto await_resume() {
    const bool sent = was_sent(end_channel(this->wait_, this->timer()));
    if constexpr (Timed) return sent;
  }

 private:
  T value_;
};

template <class T, bool Timed>
class [[nodiscard]] receive_awaiter : public channel_awaiter<Timed> {
 public:
  receive_awaiter(channel_core* c, std::int64_t deadline_ns) noexcept : channel_awaiter<Timed>(c, deadline_ns) {}
  bool await_ready() {
    return begin_channel_receive(this->wait_, element_.address(), this->timer(), this->deadline_ns());
  }
  std::optional<T> await_resume() {
    if (end_channel(this->wait_, this->timer()) != channel_result::done) return {};
    return element_.take();
  }

 private:
  element_storage<T> element_;
};

}  // namespace thrum::detail
