// The system calls of pipes, as pipe.cpp makes them for fibers and threads, and pipe_task.cpp for tasks.
#pragma once

#include <cerrno>
#include <cstddef>
#include <span>
#include <system_error>

#include <unistd.h>

#include <thrum/pipe.hpp>

#include "net/quiet_call.hpp"
#include "net/socket_operation.hpp"
#include "net/system_calls.hpp"
#include "os/errno.hpp"
#include "sched/fd_watch.hpp"
#include "sched/scheduler.hpp"
#include "sched/self.hpp"

namespace thrum::detail {

inline std::error_code last_system_error() noexcept { return {os::error_number(), std::generic_category()}; }

// A simulation has neither children nor signals, and no descriptors but those that it has made.
inline bool refused_in_simulation(std::error_code& error) noexcept {
  const auto* w = sched::this_worker();
  if (!w || !w->home.sockets()) return false;
  error = std::make_error_code(std::errc::operation_not_supported);
  return true;
}

// An attempt of an operation. An end that has hung up stays marked as ready for ever; but a FIFO may get another peer,
// and then say EAGAIN: for us it has ended, rather than that we wait in a circle.
template <class Call>
struct pipe_end::transfer {
  pipe_end& of;
  const direction d;
  Call call;

  long operator()(int fd) noexcept {
    const auto before = of.word(d);
    const long n = call(fd);
    return n < 0 && os::error_number() == EAGAIN && sched::fd_watch::hung_up(before) ? call.at_end() : n;
  }
};

struct read_call {
  std::span<std::byte> buffer;
  long operator()(int fd) const noexcept {
    if (auto* s = net::system::own()) return s->receive(fd, buffer, false);
    return ::read(fd, buffer.data(), buffer.size());
  }
  long at_end() const noexcept { return 0; }
};

struct write_call {
  std::span<const std::byte> data;
  long operator()(int fd) const noexcept {
    if (auto* s = net::system::own()) return s->send(fd, data);
    return net::call_quietly([&] { return ::write(fd, data.data(), data.size()); });
  }
  long at_end() const noexcept {
    errno = EPIPE;
    return -1;
  }
};

}  // namespace thrum::detail
