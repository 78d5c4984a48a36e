// splice(2) into a pipe and out of it.
//
// A pipe has places for a number of pieces, and a piece may be short: with bytes in it, it may be full long before its
// size says so, and the kernel then says EAGAIN as it does for a descriptor that is not ready. So it is filled only
// when it is empty, and EAGAIN is about the other descriptor.
#include <thrum/net/splice.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include "base/assert.hpp"
#include "net/quiet_call.hpp"
#include "net/socket_errors.hpp"
#include "net/socket_operation.hpp"
#include "net/stream_loops.hpp"
#include "net/system_calls.hpp"
#include "os/errno.hpp"
#include "sched/fd_watch.hpp"

namespace thrum::net {

splice_buffer::~splice_buffer() {
  if (!is_open()) return;
  ::close(in_);
  ::close(out_);
}

splice_buffer splice_buffer::make(std::error_code& error) noexcept {
  splice_buffer b;
  std::array<int, 2> ends;
  error.clear();
  if (system::own())
    error = std::make_error_code(std::errc::operation_not_supported);
  else if (::pipe2(ends.data(), O_NONBLOCK | O_CLOEXEC) != 0)
    error = last_error();
  else
    b.out_ = ends[0], b.in_ = ends[1];
  return b;
}

splice_buffer splice_buffer::make() {
  return or_throw("thrum: cannot make a splice_buffer", [](auto& error) { return make(error); });
}

std::size_t splice_buffer::take(std::span<std::byte> into) noexcept {
  std::size_t done = 0;
  while (done < std::min(into.size(), done + size_)) {
    const auto n = ::read(out_, into.data() + done, std::min(into.size() - done, size_));
    if (n <= 0 && errno == EINTR) continue;
    if (n <= 0) break;
    done += static_cast<std::size_t>(n);
    size_ -= static_cast<std::size_t>(n);
  }
  return done;
}

}  // namespace thrum::net

namespace thrum::detail {

// An end that has hung up stays marked as ready for ever; but a FIFO may get another peer, and then say EAGAIN: for us
// it has ended, as for its own calls.
long splicing::try_fill(net::socket& from, int fd, net::splice_buffer& b, std::uint64_t at_most) noexcept {
  constexpr std::uint64_t piece_max = 1 << 20;  // The kernel takes what its pipe has places for.
  const auto before = from.word(net::socket::direction::reading);
  const auto size = static_cast<std::size_t>(std::min(at_most, piece_max));
  const auto n = ::splice(fd, nullptr, b.in_, nullptr, size, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  return n < 0 && os::error_number() == EAGAIN && sched::fd_watch::hung_up(before) ? 0 : n;
}

long splicing::try_drain(net::socket& to, int fd, net::splice_buffer& b) noexcept {
  const auto before = to.word(net::socket::direction::writing);
  const long n = net::call_quietly(
      [&] { return ::splice(b.out_, nullptr, fd, nullptr, b.size_, SPLICE_F_MOVE | SPLICE_F_NONBLOCK); });
  if (n < 0 && os::error_number() == EAGAIN && sched::fd_watch::hung_up(before)) os::set_error_number(EPIPE);
  return n;
}

// Named, and nobody's inside: coroutines keep them in their frames.
struct fill_attempt {
  net::socket& from;
  net::splice_buffer& into;
  std::uint64_t at_most;
  long operator()(int fd) const noexcept { return splicing::try_fill(from, fd, into, at_most); }
};
struct drain_attempt {
  net::splice_buffer& from;
  net::socket& to;
  long operator()(int fd) const noexcept { return splicing::try_drain(to, fd, from); }
};

std::size_t splicing::filled(net::splice_buffer& b, long n) noexcept {
  return b.size_ = static_cast<std::size_t>(std::max(n, 0L));
}

// How much went out by now. A kernel that brings nothing out of a pipe that holds something cannot go on, either.
std::size_t splicing::drained(net::splice_buffer& b, long n, std::error_code& error) noexcept {
  if (n == 0) error = std::make_error_code(std::errc::invalid_argument);
  const auto size = static_cast<std::size_t>(std::max(n, 0L));
  b.size_ -= size;
  return size;
}

std::size_t splicing::fill(net::socket& from, net::splice_buffer& b, std::uint64_t at_most, std::error_code& error) {
  THRUM_ASSERT(b.size_ == 0);
  return filled(b, from.perform(net::socket::direction::reading, error, fill_attempt{from, b, at_most}));
}

std::size_t splicing::drain(net::socket& to, net::splice_buffer& b, std::error_code& error) {
  std::size_t done = 0;
  while (b.size_ > 0 && !error)
    done += drained(b, to.perform(net::socket::direction::writing, error, drain_attempt{b, to}), error);
  return done;
}

task<std::size_t> splicing::async_fill(net::socket& from, net::splice_buffer& b, std::uint64_t at_most,
                                       std::error_code& error) {
  THRUM_ASSERT(b.size_ == 0);
  const fill_attempt attempt{from, b, at_most};
  const long n = co_await from.async_perform(net::socket::direction::reading, error, attempt);
  co_return filled(b, n);
}

task<std::size_t> splicing::async_drain(net::socket& to, net::splice_buffer& b, std::error_code& error) {
  std::size_t done = 0;
  const drain_attempt attempt{b, to};
  while (b.size_ > 0 && !error) {
    const long n = co_await to.async_perform(net::socket::direction::writing, error, attempt);
    done += drained(b, n, error);
  }
  co_return done;
}

}  // namespace thrum::detail
