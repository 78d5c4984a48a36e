// Pipes, FIFOs and terminals: bytes in one direction, through a descriptor that blocks the fiber, not the thread.
//
//   auto [reader, writer] = thrum::make_pipe();
//   writer.write_all(std::as_bytes(std::span("hello\n", 6)));
//   writer.close();
//   std::array<std::byte, 4096> buffer;
//   std::size_t n = reader.read_some(buffer);   // 6; then 0: no writer is left
//
//   auto in = thrum::pipe_reader::reopen(0);    // standard input, without changing it for those who share it
//
// Operations suspend the calling fiber (or block the calling thread) and are cancellation points. Errors throw
// std::system_error; each operation has an overload that reports them in an error_code instead, cancellation included
// (errc::operation_canceled). Deadlines and time-outs are errc::timed_out. Writing when no reader is left is
// errc::broken_pipe; SIGPIPE is not delivered, and its disposition is left alone. Descriptors are close-on-exec. In a
// simulation make_pipe() works as elsewhere, and the kernel's descriptors are refused: errc::operation_not_supported.
//
// An end is used by one fiber, task or thread at a time; it may be closed by another while that one waits.
#pragma once

#include <cstddef>
#include <span>
#include <system_error>
#include <utility>

#include <thrum/net/socket.hpp>
#include <thrum/net/stream_calls.hpp>
#include <thrum/select.hpp>

namespace thrum {

namespace detail {

class pipe_end : public net::socket {
 protected:
  pipe_end() noexcept = default;
  explicit pipe_end(int fd) noexcept : socket(fd) {}

  static int adopted(int fd, std::error_code& error) noexcept;
  static int reopened(int fd, bool for_reading, std::error_code& error) noexcept;
  bool ready_now(direction d, std::error_code& error);
  void until_ready(direction d, std::error_code& error);
  task<void> async_until_ready(direction d, std::error_code& error);
  select_clause describe_ready(direction d);
  template <class Call>
  struct transfer;
};

}  // namespace detail

class pipe_reader : public detail::pipe_end, public net::input_calls<pipe_reader> {
 public:
  using plain_descriptor = pipe_reader;  // See net/splice.hpp.
  pipe_reader() noexcept = default;

  // Takes over a descriptor open for reading and sets O_NONBLOCK, which belongs to the open file description: all who
  // share that see it. For descriptors of one's own; for inherited ones there is reopen().
  static pipe_reader adopt(int fd);
  static pipe_reader adopt(int fd, std::error_code& error);

  // Opens once more what `fd` refers to, and leaves `fd` as it is: a pipe, FIFO, terminal or other character device
  // through /proc, so that non-blocking mode is ours alone. A regular file is shared with its position instead: reads
  // of it do not wait for anybody, but may wait for the disk. Sockets cannot be opened again:
  // errc::no_such_device_or_address.
  static pipe_reader reopen(int fd);
  static pipe_reader reopen(int fd, std::error_code& error);

  // And read_exactly(): see net/stream_calls.hpp. The end is where no writer is left; a FIFO that has lost its last
  // writer while we waited stays there.
  using input_calls::read_some;
  std::size_t read_some(std::span<std::byte> buffer, std::error_code& error);

  // Suspends until there is something to read, or no writer is left.
  void wait_readable();
  void wait_readable(std::error_code& error);

  // For tasks, with <thrum/task.hpp>: co_await them. The buffer, the reader and the error_code must outlive the call.
  // Throw or report as the plain calls do.
  using input_calls::async_read_some;
  task<std::size_t> async_read_some(std::span<std::byte> buffer, std::error_code& error);
  task<void> async_wait_readable();
  task<void> async_wait_readable(std::error_code& error);

  // A clause for select(), in fibers and tasks: f() runs when read_some() would not wait. Not for regular files.
  template <class F>
  auto on_readable(F f) {
    return detail::condition_clause<F>(describe_ready(direction::reading), std::move(f));
  }

 private:
  friend struct pipe_ends make_pipe(std::error_code& error);
  explicit pipe_reader(int fd) noexcept : pipe_end(fd) {}
};

class pipe_writer : public detail::pipe_end, public net::output_calls<pipe_writer> {
 public:
  using plain_descriptor = pipe_writer;
  pipe_writer() noexcept = default;

  // As of pipe_reader, with descriptors open for writing.
  static pipe_writer adopt(int fd);
  static pipe_writer adopt(int fd, std::error_code& error);
  static pipe_writer reopen(int fd);
  static pipe_writer reopen(int fd, std::error_code& error);

  // And write_all(): see net/stream_calls.hpp.
  using output_calls::write_some;
  std::size_t write_some(std::span<const std::byte> data, std::error_code& error);

  // Suspends until there is room, or no reader is left.
  void wait_writable();
  void wait_writable(std::error_code& error);

  // For tasks, likewise.
  using output_calls::async_write_some;
  task<std::size_t> async_write_some(std::span<const std::byte> data, std::error_code& error);
  task<void> async_wait_writable();
  task<void> async_wait_writable(std::error_code& error);

  // A clause for select(): f() runs when write_some() would not wait. Not for regular files.
  template <class F>
  auto on_writable(F f) {
    return detail::condition_clause<F>(describe_ready(direction::writing), std::move(f));
  }

 private:
  friend struct pipe_ends make_pipe(std::error_code& error);
  friend output_calls;
  friend struct detail::splicing;
  explicit pipe_writer(int fd) noexcept : pipe_end(fd) {}
  void break_off() noexcept { broken_ = true; }

  bool broken_ = false;  // A write stopped in the middle.
};

struct pipe_ends {
  pipe_reader reader;
  pipe_writer writer;
};

// Does not suspend. Throws std::system_error, such as errc::too_many_files_open.
[[nodiscard]] pipe_ends make_pipe();
[[nodiscard]] pipe_ends make_pipe(std::error_code& error);

}  // namespace thrum
