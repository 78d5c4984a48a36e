// The master's end of a pseudo-terminal, by /dev/ptmx.
#include <thrum/pseudo_terminal.hpp>

#include <array>
#include <cerrno>
#include <cstdlib>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "net/stream_loops.hpp"
#include "process/pipe_calls.hpp"

namespace thrum {

template class net::input_calls<pseudo_terminal>;
template class net::output_calls<pseudo_terminal>;

namespace detail {

// Linux says EIO when nobody has the other end open any more.
struct read_terminal_call : read_call {
  long operator()(int fd) const noexcept {
    const long n = read_call::operator()(fd);
    return n < 0 && os::error_number() == EIO ? 0 : n;
  }
};

}  // namespace detail

pseudo_terminal pseudo_terminal::open(const terminal_size& size, std::error_code& error) {
  error.clear();
  if (detail::refused_in_simulation(error)) return {};
  pseudo_terminal t(::open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
  std::array<char, 64> name;
  const int fd = t.native_handle();
  if (fd < 0 || ::grantpt(fd) != 0 || ::unlockpt(fd) != 0 || ::ptsname_r(fd, name.data(), name.size()) != 0)
    error = detail::last_system_error();
  else
    t.resize(size, error);
  if (error) return {};
  t.name_ = name.data();
  return t;
}

pseudo_terminal pseudo_terminal::open(const terminal_size& size) {
  return net::or_throw("thrum: cannot open a pseudo-terminal", [&](auto& error) { return open(size, error); });
}

std::size_t pseudo_terminal::read_some(std::span<std::byte> buffer, std::error_code& error) {
  const long n =
      perform(direction::reading, error, transfer<detail::read_terminal_call>{*this, direction::reading, {{buffer}}});
  return n < 0 ? 0 : static_cast<std::size_t>(n);
}

task<std::size_t> pseudo_terminal::async_read_some(std::span<std::byte> buffer, std::error_code& error) {
  const transfer<detail::read_terminal_call> call{*this, direction::reading, {{buffer}}};
  const long n = co_await async_perform(direction::reading, error, call);
  co_return n < 0 ? 0 : static_cast<std::size_t>(n);
}

std::size_t pseudo_terminal::write_some(std::span<const std::byte> data, std::error_code& error) {
  if (!may_write(error)) return 0;
  const long n = perform(direction::writing, error, transfer<detail::write_call>{*this, direction::writing, {data}});
  return n < 0 ? 0 : static_cast<std::size_t>(n);
}

task<std::size_t> pseudo_terminal::async_write_some(std::span<const std::byte> data, std::error_code& error) {
  if (!may_write(error)) co_return 0;
  const transfer<detail::write_call> call{*this, direction::writing, {data}};
  const long n = co_await async_perform(direction::writing, error, call);
  co_return n < 0 ? 0 : static_cast<std::size_t>(n);
}

bool pseudo_terminal::may_write(std::error_code& error) const noexcept {
  error = broken_ ? std::make_error_code(std::errc::broken_pipe) : std::error_code();
  return !broken_;
}

void pseudo_terminal::resize(const terminal_size& size, std::error_code& error) noexcept {
  const winsize w{.ws_row = size.rows, .ws_col = size.columns, .ws_xpixel = 0, .ws_ypixel = 0};
  error.clear();
  if (::ioctl(native_handle(), TIOCSWINSZ, &w) != 0) error = detail::last_system_error();
}

void pseudo_terminal::resize(const terminal_size& size) {
  net::or_throw("thrum: resize a terminal", [&](auto& error) { resize(size, error); });
}

terminal_size pseudo_terminal::size(std::error_code& error) const noexcept {
  winsize w{};
  error.clear();
  if (::ioctl(native_handle(), TIOCGWINSZ, &w) != 0) error = detail::last_system_error();
  return {.rows = w.ws_row, .columns = w.ws_col};
}

terminal_size pseudo_terminal::size() const {
  return net::or_throw("thrum: size of a terminal", [&](auto& error) { return size(error); });
}

// The two ends share one set of manners.
void pseudo_terminal::set_raw(std::error_code& error) noexcept {
  termios manners{};
  error.clear();
  if (::tcgetattr(native_handle(), &manners) == 0) {
    ::cfmakeraw(&manners);
    if (::tcsetattr(native_handle(), TCSANOW, &manners) == 0) return;
  }
  error = detail::last_system_error();
}

void pseudo_terminal::set_raw() {
  net::or_throw("thrum: set_raw", [&](auto& error) { set_raw(error); });
}

}  // namespace thrum
