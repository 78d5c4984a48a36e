// A pseudo-terminal: a terminal whose screen and keyboard are in our hands, for programs that behave differently on
// one, or insist on it.
//
//   auto terminal = thrum::pseudo_terminal::open({.rows = 24, .columns = 80});
//   auto shell = thrum::process::spawn({"sh"}, {.terminal = terminal.name()});
//   terminal.write_all(std::as_bytes(std::span("tty; exit\n", 10)));           // Typed.
//   const std::size_t n = terminal.read_some(buffer);                          // Shown; 0: nobody has it open any
//   more.
//
// Reading and writing suspend the fiber (or block the thread) and are cancellation points, with deadlines and time-outs
// (errc::timed_out) as those of sockets; see net/stream_calls.hpp for the forms that are not here. The rest never
// suspends. Errors throw std::system_error, or are reported in an error_code. One fiber may read while another writes.
// In a simulation there are no terminals: errc::operation_not_supported.
//
// A terminal begins with its usual manners: it echoes what is typed, hands it over in lines, and turns "\n" into "\r\n"
// on the screen. set_raw() ends that.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <system_error>

#include <thrum/net/stream_calls.hpp>
#include <thrum/pipe.hpp>

namespace thrum {

// In characters.
struct terminal_size {
  unsigned short rows = 24;
  unsigned short columns = 80;

  friend bool operator==(const terminal_size&, const terminal_size&) noexcept = default;
};

class pseudo_terminal : public detail::pipe_end,
                        public net::input_calls<pseudo_terminal>,
                        public net::output_calls<pseudo_terminal> {
 public:
  pseudo_terminal() noexcept = default;

  // Errors such as errc::no_space_on_device when there are no more of them.
  static pseudo_terminal open(const terminal_size& size = {});
  static pseudo_terminal open(const terminal_size& size, std::error_code& error);

  // The path by which programs open it: "/dev/pts/3". See process_options::terminal.
  const std::string& name() const noexcept { return name_; }

  // What programs have written, and the echo. The end is where the last program has closed it, though another might
  // open it again.
  using input_calls::async_read_some;
  using input_calls::read_some;
  std::size_t read_some(std::span<std::byte> buffer, std::error_code& error);
  task<std::size_t> async_read_some(std::span<std::byte> buffer, std::error_code& error);
  // What is typed. A line without an end of more than 4095 bytes is cut off by the system, unless the terminal is raw.
  using output_calls::async_write_some;
  using output_calls::write_some;
  std::size_t write_some(std::span<const std::byte> data, std::error_code& error);
  task<std::size_t> async_write_some(std::span<const std::byte> data, std::error_code& error);

  // Programs in the foreground get SIGWINCH when it changes.
  void resize(const terminal_size& size);
  void resize(const terminal_size& size, std::error_code& error) noexcept;
  terminal_size size() const;
  terminal_size size(std::error_code& error) const noexcept;

  // Bytes pass as they are: no echo, no lines, no signals by keys (cfmakeraw). Programs may change it back.
  void set_raw();
  void set_raw(std::error_code& error) noexcept;

 private:
  friend output_calls;
  explicit pseudo_terminal(int fd) noexcept : pipe_end(fd) {}
  bool may_write(std::error_code& error) const noexcept;
  void break_off() noexcept { broken_ = true; }

  std::string name_;
  bool broken_ = false;  // A write stopped in the middle.
};

}  // namespace thrum
