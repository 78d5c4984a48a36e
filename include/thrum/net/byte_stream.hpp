// A connected stream of bytes: what tcp_stream and unix_stream share.
//
//   stream.write_all(std::as_bytes(std::span("hello\n", 6)));
//   std::array<std::byte, 4096> buffer;
//   std::size_t n = stream.read_some(buffer);        // 0: the peer has closed
//
// Operations suspend the calling fiber (or block the calling thread) and are cancellation points. Errors throw
// std::system_error; each operation has an overload that reports them in an error_code instead, cancellation included
// (errc::operation_canceled). Deadlines and time-outs are errc::timed_out. One fiber may read while another writes.
#pragma once

#include <cstddef>
#include <span>
#include <system_error>
#include <utility>

#include <thrum/net/buffers.hpp>
#include <thrum/net/socket.hpp>
#include <thrum/net/stream_calls.hpp>
#include <thrum/select.hpp>

namespace thrum::net {

class byte_stream : public socket, public input_calls<byte_stream> {
 public:
  using plain_descriptor = byte_stream;  // See splice.hpp.
  byte_stream() noexcept = default;

  // As stream_calls.hpp has them, and read_exactly() too.
  std::size_t read_some(std::span<std::byte> buffer);
  std::size_t read_some(std::span<std::byte> buffer, std::error_code& error);
  std::size_t write_some(std::span<const std::byte> data);
  std::size_t write_some(std::span<const std::byte> data, std::error_code& error);
  void write_all(std::span<const std::byte> data);
  std::size_t write_all(std::span<const std::byte> data, std::error_code& error);

  // The same with several buffers, in one system call for up to 64 of them.
  std::size_t read_some(mutable_buffers buffers);
  std::size_t read_some(mutable_buffers buffers, std::error_code& error);
  std::size_t write_some(const_buffers data);
  std::size_t write_some(const_buffers data, std::error_code& error);
  void write_all(const_buffers data);
  std::size_t write_all(const_buffers data, std::error_code& error);

  // Suspends until there is something to read, the stream has ended, or it has failed; holds no buffer meanwhile. May
  // return early: read_some() then waits.
  void wait_readable();
  void wait_readable(std::error_code& error);
  void wait_writable();
  void wait_writable(std::error_code& error);

  // For tasks, with <thrum/task.hpp>: co_await them. The buffer, the stream and the error_code must outlive the call.
  // Throw or report as the plain calls do.
  task<std::size_t> async_read_some(std::span<std::byte> buffer);
  task<std::size_t> async_read_some(std::span<std::byte> buffer, std::error_code& error);
  task<std::size_t> async_write_some(std::span<const std::byte> data);
  task<std::size_t> async_write_some(std::span<const std::byte> data, std::error_code& error);
  task<void> async_write_all(std::span<const std::byte> data);
  task<std::size_t> async_write_all(std::span<const std::byte> data, std::error_code& error);
  task<std::size_t> async_read_some(mutable_buffers buffers);
  task<std::size_t> async_read_some(mutable_buffers buffers, std::error_code& error);
  task<std::size_t> async_write_some(const_buffers data);
  task<std::size_t> async_write_some(const_buffers data, std::error_code& error);
  task<void> async_write_all(const_buffers data);
  task<std::size_t> async_write_all(const_buffers data, std::error_code& error);
  task<void> async_wait_readable();
  task<void> async_wait_readable(std::error_code& error);
  task<void> async_wait_writable();
  task<void> async_wait_writable(std::error_code& error);

  // Clauses for select(), in fibers and tasks: f() runs when the stream has something to read, or can be written to, or
  // has ended or failed: what read_some() or write_some() then do at once.
  template <class F>
  auto on_readable(F f) {
    return detail::condition_clause<F>(describe_readable(), std::move(f));
  }
  template <class F>
  auto on_writable(F f) {
    return detail::condition_clause<F>(describe_writable(), std::move(f));
  }

  // Ends our side; the peer reads the end of the stream. Does not suspend.
  void shutdown_write();
  void shutdown_write(std::error_code& error) noexcept;

 protected:
  explicit byte_stream(int fd) noexcept : socket(fd) {}
  // When a read that does not fill its buffer need not have emptied the socket.
  struct short_reads_leave_bytes {};
  byte_stream(int fd, short_reads_leave_bytes) noexcept : socket(fd), short_read_empties_(false) {}

  void break_off() noexcept { broken_ = true; }

  bool broken_ = false;  // A write stopped in the middle.

 private:
  friend struct detail::splicing;
  friend struct thrum::file_sending;
  struct receive_call;
  struct send_all_call;
  long read_or_failure(std::span<std::byte> buffer);
  long write_or_failure(std::span<const std::byte> data);
  int send_all(send_all_call& call);
  int end_send_all(const send_all_call& call, long n) noexcept;
  bool may_write(std::error_code& error) const noexcept;
  detail::select_clause describe_readable();
  detail::select_clause describe_writable();
  bool may_have_bytes(std::error_code& error);

  bool short_read_empties_ = true;
};

}  // namespace thrum::net
