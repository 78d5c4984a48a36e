// Reading and writing by fibers: sockets by MSG_DONTWAIT for each call, everything else by asking poll(2) first.
//
// Between poll and the call another process may have taken what there was. Then the call blocks its thread, as it would
// without us, and the monitor hands the processor over.
#include "interpose/transfers.hpp"

#include <algorithm>
#include <climits>
#include <cstddef>
#include <span>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>

#include "sched/seams.hpp"

namespace thrum::interpose {
namespace {

using elements = std::span<const iovec>;

std::size_t total(elements v) noexcept {
  std::size_t sum = 0;
  for (const auto& one : v) sum += one.iov_len;
  return sum;
}

iovec from(const iovec& one, std::size_t offset) noexcept {
  return {.iov_base = static_cast<std::byte*>(one.iov_base) + offset, .iov_len = one.iov_len - offset};
}

// Moves all elements, by part(elements), which moves some and says how many, as a blocking call on a stream does: a
// failure counts only when nothing has been moved before, and nothing (the end) ends it. The rest of an element that
// was broken goes by itself, so that the caller's array needs no copy.
template <class Part>
ssize_t move_all(elements v, Part part) noexcept {
  std::size_t done = 0;
  std::size_t offset = 0;  // Into the first of them.
  while (!v.empty()) {
    if (offset == v.front().iov_len) {
      v = v.subspan(1);
      offset = 0;
      continue;
    }
    const iovec rest = from(v.front(), offset);
    const ssize_t n = offset == 0 ? part(v) : part(elements(&rest, 1));
    if (n <= 0) return done > 0 ? static_cast<ssize_t>(done) : n;
    done += static_cast<std::size_t>(n);
    for (auto left = static_cast<std::size_t>(n); left > 0;) {
      const auto step = std::min(left, v.front().iov_len - offset);
      left -= step;
      offset += step;
      if (offset < v.front().iov_len) continue;
      v = v.subspan(1);
      offset = 0;
    }
  }
  return static_cast<ssize_t>(done);
}

// One that never waits: it does not block, or fails because the descriptor is not open for that.
bool never_waits(int fd, purpose p) noexcept {
  const int flags = ::fcntl(fd, F_GETFL);
  const int wrong_mode = p == purpose::writing ? O_RDONLY : O_WRONLY;
  return flags < 0 || (flags & (O_NONBLOCK | O_PATH)) != 0 || (flags & O_ACCMODE) == wrong_mode;
}

// The call, once poll(2) says that it will find something, or what will not change.
template <class Call>
ssize_t when_ready(const sched::scheduler& home, int fd, purpose p, Call call) noexcept {
  if (never_waits(fd, p)) return call();
  fiber_call waits(home, fd, p, 0);
  return waits.repeat([&](int flags) -> ssize_t {
    pollfd one{.fd = fd, .events = static_cast<short>(p == purpose::writing ? POLLOUT : POLLIN), .revents = 0};
    if (flags == 0 || real::poll(&one, 1, 0) != 0) return call();
    errno = EAGAIN;
    return -1;
  });
}

bool is_pipe(int fd) noexcept {
  struct stat s;
  return ::fstat(fd, &s) == 0 && S_ISFIFO(s.st_mode);
}

// A pipe that is writable has room for PIPE_BUF bytes, which are also what is written in one piece; with more at a time
// the call might block.
ssize_t write_to_pipe(const sched::scheduler& home, int fd, elements v) noexcept {
  return move_all(v, [&](elements some) {
    iovec one = some.front();
    one.iov_len = std::min<std::size_t>(one.iov_len, PIPE_BUF);
    return when_ready(home, fd, purpose::writing, [&] { return real::write(fd, one.iov_base, one.iov_len); });
  });
}

ssize_t read_once(int fd, elements v) noexcept {
  if (v.size() == 1) return real::read(fd, v.front().iov_base, v.front().iov_len);
  return real::readv(fd, v.data(), static_cast<int>(v.size()));
}

ssize_t write_once(int fd, elements v) noexcept {
  if (v.size() == 1) return real::write(fd, v.front().iov_base, v.front().iov_len);
  return real::writev(fd, v.data(), static_cast<int>(v.size()));
}

ssize_t write_to_file(const sched::scheduler& home, int fd, elements v) noexcept {
  if (total(v) > PIPE_BUF && is_pipe(fd) && !never_waits(fd, purpose::writing)) return write_to_pipe(home, fd, v);
  return when_ready(home, fd, purpose::writing, [&] { return write_once(fd, v); });
}

msghdr message_of(elements v) noexcept {
  msghdr m{};
  m.msg_iov = const_cast<iovec*>(v.data());
  m.msg_iovlen = v.size();
  return m;
}

ssize_t receive(int fd, elements v, int flags) noexcept {
  if (v.size() == 1) return real::recv(fd, v.front().iov_base, v.front().iov_len, flags);
  msghdr m = message_of(v);
  return real::recvmsg(fd, &m, flags);
}

ssize_t send(int fd, elements v, int flags) noexcept {
  if (v.size() == 1) return real::send(fd, v.front().iov_base, v.front().iov_len, flags);
  const msghdr m = message_of(v);
  return real::sendmsg(fd, &m, flags);
}

bool is_stream(int fd) noexcept {
  int type = 0;
  socklen_t size = sizeof type;
  return ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM;
}

}  // namespace

bool left_to_the_kernel(int flags) noexcept {
  // To look at a whole amount without taking it: the kernel waits for it to be complete.
  constexpr int whole_look = MSG_PEEK | MSG_WAITALL;
  return (flags & (MSG_DONTWAIT | MSG_OOB | MSG_ERRQUEUE)) != 0 || (flags & whole_look) == whole_look;
}

ssize_t fiber_read(const sched::scheduler& home, int fd, const iovec* v, int n) noexcept {
  const elements all(v, static_cast<std::size_t>(n));
  if (total(all) == 0) return real::readv(fd, v, n);
  const kept_errno on_success;
  fiber_call call(home, fd, purpose::reading, SO_RCVTIMEO);
  const ssize_t got = call.repeat([&](int flags) { return receive(fd, all, flags); });
  if (got >= 0 || errno != ENOTSOCK) return on_success(got);
  return on_success(when_ready(home, fd, purpose::reading, [&] { return read_once(fd, all); }));
}

ssize_t fiber_write(const sched::scheduler& home, int fd, const iovec* v, int n) noexcept {
  const elements all(v, static_cast<std::size_t>(n));
  if (total(all) == 0) return real::writev(fd, v, n);
  const kept_errno on_success;
  fiber_call call(home, fd, purpose::writing, SO_SNDTIMEO);
  const ssize_t put =
      move_all(all, [&](elements some) { return call.repeat([&](int flags) { return send(fd, some, flags); }); });
  if (put >= 0 || errno != ENOTSOCK) return on_success(put);
  return on_success(write_to_file(home, fd, all));
}

// Names and control messages come with the first part.
ssize_t fiber_recvmsg(const sched::scheduler& home, int fd, msghdr* m, int flags) noexcept {
  const kept_errno on_success;
  fiber_call call(home, fd, purpose::reading, SO_RCVTIMEO);
  const ssize_t got = call.repeat([&](int more) { return real::recvmsg(fd, m, flags | more); });
  const elements all(m->msg_iov, m->msg_iovlen);
  if (got <= 0 || (flags & MSG_WAITALL) == 0 || static_cast<std::size_t>(got) >= total(all) || !is_stream(fd))
    return on_success(got);
  ssize_t first = got;
  return on_success(move_all(all, [&](elements some) {
    if (const ssize_t n = std::exchange(first, 0)) return n;
    return call.repeat([&](int more) { return receive(fd, some, flags | more); });
  }));
}

ssize_t fiber_sendmsg(const sched::scheduler& home, int fd, const msghdr* m, int flags) noexcept {
  const kept_errno on_success;
  fiber_call call(home, fd, purpose::writing, SO_SNDTIMEO);
  const ssize_t put = call.repeat([&](int more) { return real::sendmsg(fd, m, flags | more); });
  const elements all(m->msg_iov, m->msg_iovlen);
  if (put <= 0 || static_cast<std::size_t>(put) >= total(all)) return on_success(put);
  ssize_t first = put;
  return on_success(move_all(all, [&](elements some) {
    if (const ssize_t n = std::exchange(first, 0)) return n;
    return call.repeat([&](int more) { return send(fd, some, flags | more); });
  }));
}

int fiber_recvmmsg(const sched::scheduler& home, int fd, mmsghdr* all, unsigned n, int flags, timespec* time) noexcept {
  const kept_errno on_success;
  if (time && !is_time(*time)) return real::recvmmsg(fd, all, n, flags, time);
  const auto deadline = time ? deadline_after(time->tv_sec, time->tv_nsec) : sched::never;
  fiber_call call(home, fd, purpose::reading, SO_RCVTIMEO);
  unsigned done = 0;
  while (done < n) {
    const auto got = call.repeat(
        [&](int more) -> ssize_t { return real::recvmmsg(fd, all + done, n - done, flags | more, nullptr); });
    if (got < 0 && done == 0) return -1;
    if (got <= 0) break;
    done += static_cast<unsigned>(got);
    if ((flags & MSG_WAITFORONE) != 0 || time_left(deadline) == 0) break;
  }
  if (time && deadline != sched::never) {
    const auto left = time_left(deadline);
    *time = {.tv_sec = left / 1'000'000'000, .tv_nsec = left % 1'000'000'000};
  }
  return on_success(static_cast<int>(done));
}

// One by one: each has to be complete, however the kernel would cut a large one short.
int fiber_sendmmsg(const sched::scheduler& home, int fd, mmsghdr* all, unsigned n, int flags) noexcept {
  const kept_errno on_success;
  for (unsigned i = 0; i < std::min<unsigned>(n, UIO_MAXIOV); ++i) {
    const ssize_t put = fiber_sendmsg(home, fd, &all[i].msg_hdr, flags);
    if (put < 0) return i == 0 ? -1 : on_success(static_cast<int>(i));
    all[i].msg_len = static_cast<unsigned>(put);
  }
  return on_success(static_cast<int>(std::min<unsigned>(n, UIO_MAXIOV)));
}

}  // namespace thrum::interpose
