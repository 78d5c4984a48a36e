// Pipes for fibers and threads; how descriptors are taken over.
#include <thrum/pipe.hpp>

#include <array>
#include <cerrno>
#include <cstdio>

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/stream_loops.hpp"
#include "process/pipe_calls.hpp"

namespace thrum::detail {
namespace {

bool is_regular_file(int fd) noexcept {
  struct stat s;
  return ::fstat(fd, &s) == 0 && S_ISREG(s.st_mode);
}

}  // namespace

int pipe_end::adopted(int fd, std::error_code& error) noexcept {
  error.clear();
  if (net::system::adopt(fd) == 0) return fd;
  error = last_system_error();
  return -1;
}

int pipe_end::reopened(int fd, bool for_reading, std::error_code& error) noexcept {
  error.clear();
  if (refused_in_simulation(error)) return -1;
  std::array<char, 32> path;
  std::snprintf(path.data(), path.size(), "/proc/self/fd/%d", fd);
  const int mode = (for_reading ? O_RDONLY : O_WRONLY) | O_NONBLOCK | O_CLOEXEC | O_NOCTTY;
  const int own = is_regular_file(fd) ? ::fcntl(fd, F_DUPFD_CLOEXEC, 3) : ::open(path.data(), mode);
  if (own < 0) error = last_system_error();
  if (own < 0 && ::fcntl(fd, F_GETFD) < 0) error = last_system_error();  // There is nothing of that number.
  return own;
}

namespace {

// As poll(2): how many are ready. A read would take what is there: a pipe has no way to peek.
int look(int fd, bool to_write) noexcept {
  if (auto* s = net::system::own()) return s->is_ready(fd, to_write) ? 1 : 0;
  pollfd p{.fd = fd, .events = static_cast<short>(to_write ? POLLOUT : POLLIN), .revents = 0};
  return ::poll(&p, 1, 0);
}

}  // namespace

bool pipe_end::ready_now(direction d, std::error_code& error) {
  while (!known_not_ready(d)) {
    const auto before = word(d);
    const use inside(*this);
    if (inside.fd() < 0) return !report(EBADF, error);
    const int n = look(inside.fd(), d == direction::writing);
    if (n > 0) return true;
    if (n < 0 && os::error_number() == EINTR) continue;
    if (n < 0) error = last_system_error();
    if (n < 0 || sched::fd_watch::hung_up(before)) return true;
    not_ready(d, before);
    if (!watch_.load(std::memory_order_acquire)) break;
  }
  return false;
}

void pipe_end::until_ready(direction d, std::error_code& error) {
  if (begin(error) && !ready_now(d, error)) wait_ready(d, error);
}

select_clause pipe_end::describe_ready(direction d) {
  auto clause = describe(d);
  std::error_code error;
  (void)ready_now(d, error);  // Corrects what is marked as ready from before.
  return clause;
}

}  // namespace thrum::detail

namespace thrum {

template class net::input_calls<pipe_reader>;
template class net::output_calls<pipe_writer>;

pipe_reader pipe_reader::adopt(int fd, std::error_code& error) { return pipe_reader(adopted(fd, error)); }
pipe_reader pipe_reader::reopen(int fd, std::error_code& error) { return pipe_reader(reopened(fd, true, error)); }
pipe_writer pipe_writer::adopt(int fd, std::error_code& error) { return pipe_writer(adopted(fd, error)); }
pipe_writer pipe_writer::reopen(int fd, std::error_code& error) { return pipe_writer(reopened(fd, false, error)); }

pipe_reader pipe_reader::adopt(int fd) {
  return net::or_throw("thrum: cannot adopt the descriptor", [&](auto& error) { return adopt(fd, error); });
}

pipe_reader pipe_reader::reopen(int fd) {
  return net::or_throw("thrum: cannot reopen the descriptor", [&](auto& error) { return reopen(fd, error); });
}

pipe_writer pipe_writer::adopt(int fd) {
  return net::or_throw("thrum: cannot adopt the descriptor", [&](auto& error) { return adopt(fd, error); });
}

pipe_writer pipe_writer::reopen(int fd) {
  return net::or_throw("thrum: cannot reopen the descriptor", [&](auto& error) { return reopen(fd, error); });
}

pipe_ends make_pipe(std::error_code& error) {
  error.clear();
  int fds[2];
  auto* s = net::system::own();
  if ((s ? s->open_pipe(fds) : ::pipe2(fds, O_NONBLOCK | O_CLOEXEC)) == 0)
    return {pipe_reader(fds[0]), pipe_writer(fds[1])};
  error = detail::last_system_error();
  return {};
}

pipe_ends make_pipe() {
  return net::or_throw("thrum: cannot make a pipe", [](auto& error) { return make_pipe(error); });
}

// ---------------------------------------------------------------------------------------------------------------

std::size_t pipe_reader::read_some(std::span<std::byte> buffer, std::error_code& error) {
  const long n = perform(direction::reading, error, transfer<detail::read_call>{*this, direction::reading, {buffer}});
  return n < 0 ? 0 : static_cast<std::size_t>(n);
}

void pipe_reader::wait_readable(std::error_code& error) { until_ready(direction::reading, error); }

void pipe_reader::wait_readable() {
  net::or_throw("thrum: wait_readable", [&](auto& error) { wait_readable(error); });
}

// ---------------------------------------------------------------------------------------------------------------

std::size_t pipe_writer::write_some(std::span<const std::byte> data, std::error_code& error) {
  if (broken_) {
    error = std::make_error_code(std::errc::broken_pipe);
    return 0;
  }
  const long n = perform(direction::writing, error, transfer<detail::write_call>{*this, direction::writing, {data}});
  return n < 0 ? 0 : static_cast<std::size_t>(n);
}

void pipe_writer::wait_writable(std::error_code& error) { until_ready(direction::writing, error); }

void pipe_writer::wait_writable() {
  net::or_throw("thrum: wait_writable", [&](auto& error) { wait_writable(error); });
}

}  // namespace thrum
