// A query, from its first datagram to its answer: a channel of c-ares, and a wait for any of its sockets. In a
// simulation there is a stub instead of the channel (stub.hpp).
//
// c-ares says by a callback which sockets it reads and writes. They are in an epoll set, level-triggered; the set's own
// descriptor becomes readable when one of them is ready, and is waited for as a socket is: by a fiber or a task through
// the runtime's poller, edge-triggered, and by a thread in poll(2). Before each wait the set is asked, so what is left
// over is never waited for. c-ares' time-outs bound the waits, in addition to the call's deadline.
//
// An exchange belongs to one activity. Destroying it closes the sockets and calls back whoever still has a question
// open: questions outlive it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include <ares.h>
#include <sys/epoll.h>

#include <thrum/net/endpoint.hpp>
#include <thrum/net/socket.hpp>
#include <thrum/task.hpp>

#include "dns/configuration.hpp"
#include "dns/stub.hpp"

namespace thrum::net {

// What c-ares has been asked. Its callbacks fill it in.
struct question {
  bool answered = false;
  int status = ARES_SUCCESS;

  void settle(int result) noexcept {
    status = result;
    answered = true;
  }
};

class exchange : public socket {
 public:
  exchange(const resolver_configuration& with, std::error_code& error);
  ~exchange() { close(); }
  exchange(exchange&&) = delete;

  // To be asked: the stub, or without one the channel.
  stub* own() noexcept { return stub_ ? &*stub_ : nullptr; }
  ares_channeldata* channel() const noexcept { return channel_.get(); }

  // Until the question is answered, the deadline has passed or the call is cancelled.
  void run(const question& q, std::int64_t deadline_ns, std::error_code& error);
  task<> async_run(const question& q, std::int64_t deadline_ns, std::error_code& error);

  // Why there is no answer: c-ares 1.18 forgets what the servers said when it has asked them all.
  std::error_code reason(int status) const noexcept;

 private:
  friend struct exchange_sockets;
  static constexpr std::size_t events_max = 8;
  struct look {
    std::array<epoll_event, events_max>& ready;
    long operator()(int set) const noexcept;
  };

  static void socket_changed(void* self, ares_socket_t s, int reads, int writes) noexcept;
  void watch(int s, unsigned events) noexcept;
  std::int64_t wake_at_ns(std::int64_t deadline_ns) const noexcept;
  bool serve(long count, std::int64_t deadline_ns, std::error_code& error);
  void serve_socket(const epoll_event& e);
  void time_has_passed();

  channel_handle channel_;
  std::optional<stub> stub_;
  std::array<epoll_event, events_max> ready_{};
  int refusal_ = ARES_SUCCESS;  // What a server has said last instead of an answer.
  int failure_ = 0;             // errno, when a socket could not be watched.
};

}  // namespace thrum::net
