// Gathers small writes to a stream into large ones.
//
//   thrum::net::buffered_writer out(connection);
//   out.write("HTTP/1.1 204 No Content\r\n");
//   out.write("\r\n");
//   out.flush();                       // Before waiting for the peer's answer: nobody else does it.
//
// What does not fit into the buffer any more sends what is there first; what is as large as the buffer is sent without
// a copy. The stream is any object with write_some(std::span<const std::byte>, std::error_code&), and for the twins
// async_write_some; it must outlive the writer, and is neither flushed nor closed by the destructor, which cannot wait.
// A writer is itself such a stream. Sizes are in bytes.
//
// All calls that write suspend and are cancellation points. They throw std::system_error; each has an overload that
// reports in an error_code, cancellation included (errc::operation_canceled). A flush() that fails or is cancelled can
// be repeated: it goes on where it stopped. Time-outs and deadlines are the stream's. One fiber, task or thread at a
// time; another may read from the stream meanwhile.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <system_error>

#include <thrum/detail/stream_buffers.hpp>
#include <thrum/detail/transfer.hpp>
#include <thrum/task.hpp>

namespace thrum::net {

template <class Stream>
class buffered_writer {
 public:
  explicit buffered_writer(Stream& stream, std::size_t buffer_size = 4096) noexcept
      : stream_(stream), buffer_(buffer_size) {}

  Stream& stream() const noexcept { return stream_; }
  std::size_t buffered() const noexcept { return buffer_.held().size(); }  // Written and not yet sent.

  // Buffers or sends all of data. When it fails or is cancelled, either nothing of data was taken, and it may be
  // repeated, or part of it was sent: then later writes fail with errc::broken_pipe. The overload with an error_code
  // returns how many bytes were taken.
  void write(std::span<const std::byte> data) {
    std::error_code error;
    write(data, error);
    detail::raise_if(error, "thrum: write");
  }
  std::size_t write(std::span<const std::byte> data, std::error_code& error) {
    if (!begin(detail::begin_transfer(error), error)) return 0;
    if (data.size() > buffer_.room() && !send_held(error)) return 0;
    std::size_t done = 0;
    while (data.size() - done >= buffer_.size() && done < data.size() && !error)
      done += stream_.write_some(data.subspan(done), error);
    return end(data, done, error);
  }
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }
  std::size_t write(std::string_view text, std::error_code& error) {
    return write(std::as_bytes(std::span(text)), error);
  }

  // Under the names that streams have.
  std::size_t write_some(std::span<const std::byte> data) { return write_all(data), data.size(); }
  std::size_t write_some(std::span<const std::byte> data, std::error_code& error) { return write(data, error); }
  void write_all(std::span<const std::byte> data) { write(data); }
  std::size_t write_all(std::span<const std::byte> data, std::error_code& error) { return write(data, error); }

  // Sends what is buffered.
  void flush() {
    std::error_code error;
    flush(error);
    detail::raise_if(error, "thrum: flush");
  }
  void flush(std::error_code& error) {
    if (begin(detail::begin_transfer(error), error)) send_held(error);
  }

  // For tasks: co_await them. The writer, the data and the error_code must outlive the call. As the plain calls.
  task<void> async_write(std::span<const std::byte> data) {
    std::error_code error;
    co_await async_write(data, error);
    detail::raise_if(error, "thrum: write");
  }
  task<std::size_t> async_write(std::span<const std::byte> data, std::error_code& error) {
    if (!begin(detail::async_begin_transfer(error), error)) co_return 0;
    if (data.size() > buffer_.room()) co_await async_send_held(error);
    std::size_t done = 0;
    while (!error && data.size() - done >= buffer_.size() && done < data.size())
      done += co_await stream_.async_write_some(data.subspan(done), error);
    co_return end(data, done, error);
  }
  task<void> async_write(std::string_view text) { return async_write(std::as_bytes(std::span(text))); }
  task<std::size_t> async_write(std::string_view text, std::error_code& error) {
    return async_write(std::as_bytes(std::span(text)), error);
  }
  task<std::size_t> async_write_some(std::span<const std::byte> data) {
    co_await async_write(data);
    co_return data.size();
  }
  task<std::size_t> async_write_some(std::span<const std::byte> data, std::error_code& error) {
    return async_write(data, error);
  }
  task<void> async_write_all(std::span<const std::byte> data) { return async_write(data); }
  task<std::size_t> async_write_all(std::span<const std::byte> data, std::error_code& error) {
    return async_write(data, error);
  }
  task<void> async_flush() {
    std::error_code error;
    co_await async_flush(error);
    detail::raise_if(error, "thrum: flush");
  }
  task<void> async_flush(std::error_code& error) {
    if (begin(detail::async_begin_transfer(error), error)) co_await async_send_held(error);
  }

 private:
  bool begin(bool begun, std::error_code& error) const noexcept {
    if (begun && broken_) error = std::make_error_code(std::errc::broken_pipe);
    return !error;
  }
  // After `done` bytes have been sent directly: what remains fits into the buffer.
  std::size_t end(std::span<const std::byte> data, std::size_t done, const std::error_code& error) {
    if (error) {
      broken_ = done > 0;  // The peer has part of a message: nothing sensible can follow it.
      return done;
    }
    buffer_.append(data.subspan(done));
    return data.size();
  }

  bool send_held(std::error_code& error) {
    while (!error && !buffer_.held().empty()) buffer_.sent(stream_.write_some(buffer_.held(), error));
    return !error;
  }
  task<void> async_send_held(std::error_code& error) {
    while (!error && !buffer_.held().empty()) buffer_.sent(co_await stream_.async_write_some(buffer_.held(), error));
  }

  Stream& stream_;
  detail::write_buffer buffer_;
  bool broken_ = false;  // A write stopped in the middle.
};

}  // namespace thrum::net
