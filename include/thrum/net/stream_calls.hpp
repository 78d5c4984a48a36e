// The calls that all streams of bytes share, made of the two that differ: Stream::read_some and Stream::write_some with
// an error_code, and their twins. A stream derives from these as stream_calls<itself>, and names them by `using`.
//
// They suspend the calling fiber (or block the calling thread) and are cancellation points. Errors throw
// std::system_error, and cancellation throws cancelled; the overloads with an error_code report both there
// (errc::operation_canceled). The twins are for tasks, with <thrum/task.hpp>: co_await them. The buffer, the stream and
// the error_code must outlive the call.
#pragma once

#include <cstddef>
#include <span>
#include <system_error>

namespace thrum {
template <class T>
class task;
}

namespace thrum::net {

template <class Stream>
class input_calls {
 public:
  // At least one byte, or 0 at the end of the stream (or when the buffer is empty).
  std::size_t read_some(std::span<std::byte> buffer);
  task<std::size_t> async_read_some(std::span<std::byte> buffer);

  // Exactly buffer.size() bytes; fewer only with an error: errc::connection_aborted at a premature end of the stream.
  // The overloads with an error_code return how many were read.
  void read_exactly(std::span<std::byte> buffer);
  std::size_t read_exactly(std::span<std::byte> buffer, std::error_code& error);
  task<void> async_read_exactly(std::span<std::byte> buffer);
  task<std::size_t> async_read_exactly(std::span<std::byte> buffer, std::error_code& error);

 private:
  Stream& self() noexcept { return static_cast<Stream&>(*this); }
};

template <class Stream>
class output_calls {
 public:
  // At least one byte, unless data is empty.
  std::size_t write_some(std::span<const std::byte> data);
  task<std::size_t> async_write_some(std::span<const std::byte> data);

  // All of data. When it fails or is cancelled in the middle, the stream is unusable for writing: later writes fail
  // with errc::broken_pipe. The overloads with an error_code return how many bytes were written.
  void write_all(std::span<const std::byte> data);
  std::size_t write_all(std::span<const std::byte> data, std::error_code& error);
  task<void> async_write_all(std::span<const std::byte> data);
  task<std::size_t> async_write_all(std::span<const std::byte> data, std::error_code& error);

 private:
  Stream& self() noexcept { return static_cast<Stream&>(*this); }
};

}  // namespace thrum::net
