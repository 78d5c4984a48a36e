// Carrying a query: sockets, readiness and time-outs for c-ares.
#include "dns/exchange.hpp"

#include <algorithm>
#include <cerrno>
#include <cstddef>

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
  const int fd = system::beside::open_set();
  if (fd < 0) error = last_error();
  return fd;
}

}  // namespace

// The system's calls as c-ares makes them. Its own would leave descriptors to child processes for a moment, and raise
// SIGPIPE.
struct exchange_sockets {
  static ares_socket_t open(int family, int type, int, void*) noexcept {
    const int fd = ::socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
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
  if (!system::beside::is_kernel()) {
    stub_.emplace(with, native_handle());
    return;
  }
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

void exchange::watch(int s, unsigned events) noexcept {
  if (system::beside::change_set(native_handle(), s, events) != 0 && events != 0) failure_ = os::error_number();
}

long exchange::look::operator()(int set) const noexcept {
  const int n = system::beside::look_at_set(set, ready);
  if (n != 0) return n;
  os::set_error_number(EAGAIN);
  return -1;
}

// c-ares rounds down to milliseconds.
std::int64_t exchange::wake_at_ns(std::int64_t deadline_ns) const noexcept {
  constexpr std::int64_t second_ns = 1'000'000'000, microsecond_ns = 1'000, rounding_ns = 1'000'000;
  if (stub_) return std::min(deadline_ns, stub_->next_timeout_ns());
  timeval room;
  const timeval* next = ares_timeout(channel_.get(), nullptr, &room);
  if (!next) return deadline_ns;
  return std::min(deadline_ns,
                  sched::now_ns() + next->tv_sec * second_ns + next->tv_usec * microsecond_ns + rounding_ns);
}

void exchange::time_has_passed() {
  if (stub_) return stub_->time_has_passed();
  ares_process_fd(channel_.get(), ARES_SOCKET_BAD, ARES_SOCKET_BAD);
}

void exchange::serve_socket(const epoll_event& e) {
  if (stub_) return stub_->is_ready(e.data.fd);
  const bool broken = e.events & (EPOLLERR | EPOLLHUP);
  ares_process_fd(channel_.get(), broken || (e.events & EPOLLIN) ? e.data.fd : ARES_SOCKET_BAD,
                  broken || (e.events & EPOLLOUT) ? e.data.fd : ARES_SOCKET_BAD);
}

// After a look or a wait. False: it is over, for reasons that are not c-ares'.
bool exchange::serve(long count, std::int64_t deadline_ns, std::error_code& error) {
  if (error == std::errc::timed_out && sched::now_ns() < deadline_ns) {
    error.clear();
    time_has_passed();
  }
  for (long i = 0; i < count && !error; ++i) serve_socket(ready_[static_cast<std::size_t>(i)]);
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
  const int refusal = stub_ ? stub_->refusal() : refusal_;
  return dns_error(status == ARES_ECONNREFUSED && refusal != ARES_SUCCESS ? refusal : status);
}

}  // namespace thrum::net
