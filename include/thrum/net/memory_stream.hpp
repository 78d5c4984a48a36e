// A connection in memory: two ends, each a stream as a TCP connection is. For tests of protocols without a network, and
// between the fibers, tasks and threads of one process.
//
//   auto [client, server] = thrum::net::memory_stream::pair();
//   client.write_all(std::as_bytes(std::span("hello\n", 6)));
//   std::array<std::byte, 64> buffer;
//   std::size_t n = server.read_some(buffer);       // 6
//
// Each direction buffers up to its capacity; a writer waits while that is full. Closing an end, or its destructor, lets
// the peer read what is buffered and then the end of the stream; the peer's writes fail with errc::broken_pipe.
//
// Reading and writing suspend and are cancellation points. They throw std::system_error; each has an overload that
// reports in an error_code, cancellation included (errc::operation_canceled). One fiber, task or thread may read from
// an end while another writes to it. There are no deadlines of its own: a scope's serve, and there are no clauses for
// select(): a channel has them.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <system_error>
#include <utility>

#include <thrum/net/stream_calls.hpp>
#include <thrum/task.hpp>

namespace thrum::detail {
class byte_queue;
}

namespace thrum::net {

class memory_stream : public input_calls<memory_stream>, public output_calls<memory_stream> {
 public:
  // Two ends of one connection. The capacity is in bytes, at least 1, for each direction. Does not suspend.
  static std::pair<memory_stream, memory_stream> pair(std::size_t capacity = 16384);

  memory_stream() noexcept = default;
  memory_stream(memory_stream&&) noexcept = default;
  memory_stream& operator=(memory_stream&& other) noexcept {
    memory_stream moved(std::move(other));
    std::swap(in_, moved.in_);
    std::swap(out_, moved.out_);
    std::swap(broken_, moved.broken_);
    return *this;
  }
  ~memory_stream() { close(); }

  bool is_open() const noexcept;

  // And read_exactly() and write_all(): see stream_calls.hpp.
  using input_calls<memory_stream>::read_some;
  using output_calls<memory_stream>::write_some;
  std::size_t read_some(std::span<std::byte> buffer, std::error_code& error);
  std::size_t write_some(std::span<const std::byte> data, std::error_code& error);

  // For tasks: co_await them. The buffer, the end and the error_code must outlive the call. As the plain calls.
  using input_calls<memory_stream>::async_read_some;
  using output_calls<memory_stream>::async_write_some;
  task<std::size_t> async_read_some(std::span<std::byte> buffer, std::error_code& error);
  task<std::size_t> async_write_some(std::span<const std::byte> data, std::error_code& error);

  // Ends our side; the peer reads the end of the stream. Does not suspend. errc::bad_file_descriptor: it is closed.
  void shutdown_write();
  void shutdown_write(std::error_code& error) noexcept;

  // Who waits in an operation on it gets errc::bad_file_descriptor. May be repeated. Does not suspend.
  void close() noexcept;

 private:
  friend output_calls<memory_stream>;
  memory_stream(std::shared_ptr<detail::byte_queue> in, std::shared_ptr<detail::byte_queue> out) noexcept;
  bool may_write(std::error_code& error) const noexcept;
  void break_off() noexcept { broken_ = true; }

  std::shared_ptr<detail::byte_queue> in_, out_;  // Both or none.
  bool broken_ = false;                           // A write stopped in the middle.
};

}  // namespace thrum::net
