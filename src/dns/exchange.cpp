// Carrying a query: sockets, readiness and time-outs for c-ares.
#include "dns/exchange.hpp"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <span>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>

#include <thrum/net/descriptor.hpp>

#include "dns/errors.hpp"
#include "net/socket_errors.hpp"
#include "net/socket_operation.hpp"
#include "net/system_calls.hpp"
#include "os/errno.hpp"
#include "sched/wait.hpp"

namespace thrum::net {
namespace {

int open_event_set(std::error_code& error) noexcept {
  const int fd = system::open_epoll();
  if (fd < 0) error = last_error();
  return fd;
}

// The codes of RFC 1035 by which a server says that it gives no answer; to c-ares a reason to ask the next.
int refusal_in(std::span<const unsigned char> datagram) noexcept {
  constexpr std::size_t header_bytes = 12;
  if (datagram.size() < header_bytes) return ARES_SUCCESS;
  switch (datagram[3] & 0x0f) {
    case 2:
      return ARES_ESERVFAIL;
    case 4:
      return ARES_ENOTIMP;
    case 5:
      return ARES_EREFUSED;
    default:
      return ARES_SUCCESS;
  }
}

}  // namespace

// The system's calls as c-ares makes them. Its own would leave descriptors to child processes for a moment, and raise
// SIGPIPE.
struct exchange_sockets {
  static ares_socket_t open(int family, int type, int, void*) noexcept {
    const int fd = system::open_kernels_own(family, type);
    const int on = 1;
    if (fd >= 0 && type == SOCK_STREAM) ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
  }
  static int close(ares_socket_t s, void*) noexcept {
    descriptor(s).close();
    return 0;
  }
  static int connect(ares_socket_t s, const sockaddr* to, ares_socklen_t length, void*) noexcept {
    return ::connect(s, to, length);
  }
  static ares_ssize_t receive(ares_socket_t s, void* buffer, std::size_t size, int flags, sockaddr* from,
                              ares_socklen_t* length, void* self) noexcept {
    const auto n = ::recvfrom(s, buffer, size, flags, from, length);
    if (n > 0 && from) {  // A datagram.
      const auto said = refusal_in({static_cast<const unsigned char*>(buffer), static_cast<std::size_t>(n)});
      if (said != ARES_SUCCESS) static_cast<exchange*>(self)->refusal_ = said;
    }
    return n;
  }
  static ares_ssize_t send(ares_socket_t s, const iovec* parts, int count, void*) noexcept {
    msghdr m{};
    m.msg_iov = const_cast<iovec*>(parts);
    m.msg_iovlen = static_cast<std::size_t>(count);
    // A refusal is of an earlier datagram, whose query would never hear of it: this one's is reported when it is read.
    const auto n = ::sendmsg(s, &m, MSG_NOSIGNAL);
    return n < 0 && errno == ECONNREFUSED ? ::sendmsg(s, &m, MSG_NOSIGNAL) : n;
  }

  static constexpr ares_socket_functions all{open, close, connect, receive, send};
};

exchange::exchange(const resolver_configuration& with, std::error_code& error) : socket(open_event_set(error)) {
  if (error) return;
  int status = ARES_SUCCESS;
  channel_ = with.make_channel(&exchange::socket_changed, this, status);
  if (status != ARES_SUCCESS)
    error = dns_error(status);
  else
    ares_set_socket_functions(channel_.get(), &exchange_sockets::all, this);
}

void exchange::socket_changed(void* self, ares_socket_t s, int reads, int writes) noexcept {
  static_cast<exchange*>(self)->watch(s, (reads ? EPOLLIN : 0u) | (writes ? EPOLLOUT : 0u));
}

// No events: it is about to be closed. That alone would not take it out of the set while a process that is being
// started still has a copy.
void exchange::watch(int s, unsigned events) noexcept {
  if (events == 0) {
    ::epoll_ctl(native_handle(), EPOLL_CTL_DEL, s, nullptr);
    return;
  }
  epoll_event e{};
  e.events = events;
  e.data.fd = s;
  if (::epoll_ctl(native_handle(), EPOLL_CTL_MOD, s, &e) == 0) return;
  if (os::error_number() != ENOENT || ::epoll_ctl(native_handle(), EPOLL_CTL_ADD, s, &e) != 0)
    failure_ = os::error_number();
}

long exchange::look::operator()(int set) const noexcept {
  const int n = ::epoll_wait(set, ready.data(), static_cast<int>(ready.size()), 0);
  if (n != 0) return n;
  os::set_error_number(EAGAIN);
  return -1;
}

// c-ares rounds down to milliseconds.
std::int64_t exchange::wake_at_ns(std::int64_t deadline_ns) const noexcept {
  constexpr std::int64_t second_ns = 1'000'000'000, microsecond_ns = 1'000, rounding_ns = 1'000'000;
  timeval room;
  const timeval* next = ares_timeout(channel_.get(), nullptr, &room);
  if (!next) return deadline_ns;
  return std::min(deadline_ns,
                  sched::now_ns() + next->tv_sec * second_ns + next->tv_usec * microsecond_ns + rounding_ns);
}

// After a look or a wait. False: it is over, for reasons that are not c-ares'.
bool exchange::serve(long count, std::int64_t deadline_ns, std::error_code& error) noexcept {
  if (error == std::errc::timed_out && sched::now_ns() < deadline_ns) {
    error.clear();
    ares_process_fd(channel_.get(), ARES_SOCKET_BAD, ARES_SOCKET_BAD);
  }
  for (long i = 0; i < count && !error; ++i) {
    const auto& e = ready_[static_cast<std::size_t>(i)];
    const bool broken = e.events & (EPOLLERR | EPOLLHUP);
    ares_process_fd(channel_.get(), broken || (e.events & EPOLLIN) ? e.data.fd : ARES_SOCKET_BAD,
                    broken || (e.events & EPOLLOUT) ? e.data.fd : ARES_SOCKET_BAD);
  }
  if (!error && failure_ != 0) error.assign(failure_, std::generic_category());
  return !error;
}

void exchange::run(const question& q, std::int64_t deadline_ns, std::error_code& error) {
  for (bool goes_on = !error && serve(0, deadline_ns, error); goes_on && !q.answered;) {
    const long n = perform(direction::reading, error, look{ready_}, wake_at_ns(deadline_ns));
    goes_on = serve(n, deadline_ns, error);
  }
}

task<> exchange::async_run(const question& q, std::int64_t deadline_ns, std::error_code& error) {
  for (bool goes_on = !error && serve(0, deadline_ns, error); goes_on && !q.answered;) {
    const look attempt{ready_};
    const long n = co_await async_perform(direction::reading, error, attempt, wake_at_ns(deadline_ns));
    goes_on = serve(n, deadline_ns, error);
  }
}

std::error_code exchange::reason(int status) const noexcept {
  return dns_error(status == ARES_ECONNREFUSED && refusal_ != ARES_SUCCESS ? refusal_ : status);
}

}  // namespace thrum::net
