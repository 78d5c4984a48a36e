// Reads a stream by lines, records and exact sizes, with one system call for many of them, and with limits.
//
//   thrum::net::buffered_reader in(connection);
//   while (auto line = in.read_line()) answer(*line);          // std::optional<std::string_view>
//
// It reads ahead: once there is a reader, everything has to be read through it. The stream is any object with
// read_some(std::span<std::byte>, std::error_code&), which gives 0 at the end, and for the twins async_read_some; it
// must outlive the reader, and is not closed by it. A reader is itself such a stream. Sizes are in bytes.
//
// Nothing is lost: a call that fails, is cancelled or times out takes nothing, and what had come by then is read by the
// next one; skip() alone reports its progress instead. What a call gives is valid until the next call.
//
// No peer decides how much memory is taken: a record longer than the limit is errc::message_size; it stays buffered, to
// be skipped, or read with a larger limit. Less than four times the limit (and the buffer) is ever allocated.
//
// All calls that read suspend and are cancellation points, also when the bytes are there already. They throw
// std::system_error; each has an overload that reports in an error_code, cancellation included
// (errc::operation_canceled). Time-outs and deadlines are the stream's. One fiber, task or thread at a time; another
// may write to the stream meanwhile.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <thrum/detail/stream_buffers.hpp>
#include <thrum/detail/transfer.hpp>
#include <thrum/task.hpp>

namespace thrum::net {

enum class line_end : std::uint8_t {
  any,   // "\n" or "\r\n".
  lf,    // "\n"; a '\r' belongs to the line.
  crlf,  // "\r\n"; a lone '\r' or '\n' belongs to the line.
};

struct read_options {
  std::size_t buffer_size = 4096;
  std::size_t limit = 65536;  // The longest record, with its delimiter; the farthest peek.
  line_end lines = line_end::any;
};

template <class Stream>
class buffered_reader {
 public:
  explicit buffered_reader(Stream& stream, const read_options& options = {}) noexcept
      : stream_(stream), buffer_(options.buffer_size), limit_(options.limit), lines_(options.lines) {}

  Stream& stream() const noexcept { return stream_; }
  std::size_t limit() const noexcept { return limit_; }
  void set_limit(std::size_t bytes) noexcept { limit_ = bytes; }

  // What has been read from the stream and not been taken. Does not suspend.
  std::span<const std::byte> buffered() const noexcept { return buffer_.held(); }

  // The next line, without its end; nothing at the end of the stream. What follows the last line end is a line too: who
  // must tell a line that was cut off takes read_until("\n"). errc::message_size: longer than the limit.
  std::optional<std::string_view> read_line() { return checked(line(), "thrum: read_line"); }
  std::optional<std::string_view> read_line(std::error_code& error) { return find(line(), error); }

  // Everything up to and including the delimiter, which must not be empty; nothing at the end of the stream.
  // errc::connection_aborted: the stream ends before a delimiter; what there was stays buffered.
  std::optional<std::string_view> read_until(std::string_view delimiter) {
    return checked(record(delimiter), "thrum: read_until");
  }
  std::optional<std::string_view> read_until(std::string_view delimiter, std::error_code& error) {
    return find(record(delimiter), error);
  }

  // Exactly out.size() bytes, whatever the limit. errc::connection_aborted: the stream ends before; what there was
  // stays buffered. After an error `out` has unspecified contents.
  void read_exactly(std::span<std::byte> out) {
    std::error_code error;
    read_exactly(out, error);
    detail::raise_if(error, "thrum: read_exactly");
  }
  void read_exactly(std::span<std::byte> out, std::error_code& error) {
    if (!detail::begin_transfer(error)) return;
    std::size_t done = buffer_.take_into(out);
    while (done < out.size() && !error) {
      const bool direct = goes_direct(out.size() - done);
      const auto n = stream_.read_some(direct ? out.subspan(done) : buffer_.room(), error);
      done += came(direct, n, out.subspan(done), error);
    }
    if (error) buffer_.put_back(out.first(done));
  }

  // The next `size` bytes, which stay buffered; fewer at the end of the stream. errc::message_size: beyond the limit,
  // unless they are there already.
  std::span<const std::byte> peek(std::size_t size) {
    std::error_code error;
    const auto bytes = peek(size, error);
    detail::raise_if(error, "thrum: peek");
    return bytes;
  }
  std::span<const std::byte> peek(std::size_t size, std::error_code& error) {
    const detail::peek_goal goal{size, limit_};
    reach(goal, error);
    return error ? std::span<const std::byte>() : front(size);
  }

  // At least one byte, or 0 at the end of the stream (or when `out` is empty).
  std::size_t read_some(std::span<std::byte> out) {
    std::error_code error;
    const auto n = read_some(out, error);
    detail::raise_if(error, "thrum: read");
    return n;
  }
  std::size_t read_some(std::span<std::byte> out, std::error_code& error) {
    if (!detail::begin_transfer(error)) return 0;
    if (out.empty() || !buffered().empty()) return buffer_.take_into(out);
    if (goes_direct(out.size())) return stream_.read_some(out, error);
    fill(error);
    return buffer_.take_into(out);
  }

  // Drops so many bytes, whatever the limit; gives how many there were: fewer at the end of the stream, and with an
  // error, in the overload that reports it.
  std::uint64_t skip(std::uint64_t size) {
    std::error_code error;
    const auto n = skip(size, error);
    detail::raise_if(error, "thrum: skip");
    return n;
  }
  std::uint64_t skip(std::uint64_t size, std::error_code& error) {
    if (!detail::begin_transfer(error)) return 0;
    std::uint64_t done = drop(size);
    while (done < size && fill(error)) done += drop(size - done);
    return done;
  }

  // For tasks: co_await them. The reader, `out` and the error_code must outlive the call. As the plain calls.
  task<std::optional<std::string_view>> async_read_line() { return async_checked(line(), {}, "thrum: read_line"); }
  task<std::optional<std::string_view>> async_read_line(std::error_code& error) {
    return async_find(line(), {}, error);
  }
  task<std::optional<std::string_view>> async_read_until(std::string delimiter) {
    return async_checked(record({}), std::move(delimiter), "thrum: read_until");
  }
  task<std::optional<std::string_view>> async_read_until(std::string delimiter, std::error_code& error) {
    return async_find(record({}), std::move(delimiter), error);
  }
  task<void> async_read_exactly(std::span<std::byte> out) {
    std::error_code error;
    co_await async_read_exactly(out, error);
    detail::raise_if(error, "thrum: read_exactly");
  }
  task<void> async_read_exactly(std::span<std::byte> out, std::error_code& error) {
    if (!detail::async_begin_transfer(error)) co_return;
    std::size_t done = buffer_.take_into(out);
    while (done < out.size() && !error) {
      const bool direct = goes_direct(out.size() - done);
      const auto n = co_await stream_.async_read_some(direct ? out.subspan(done) : buffer_.room(), error);
      done += came(direct, n, out.subspan(done), error);
    }
    if (error) buffer_.put_back(out.first(done));
  }
  task<std::span<const std::byte>> async_peek(std::size_t size) {
    std::error_code error;
    const auto bytes = co_await async_peek(size, error);
    detail::raise_if(error, "thrum: peek");
    co_return bytes;
  }
  task<std::span<const std::byte>> async_peek(std::size_t size, std::error_code& error) {
    const detail::peek_goal goal{size, limit_};
    co_await async_reach(goal, error);
    co_return error ? std::span<const std::byte>() : front(size);
  }
  task<std::size_t> async_read_some(std::span<std::byte> out) {
    std::error_code error;
    const auto n = co_await async_read_some(out, error);
    detail::raise_if(error, "thrum: read");
    co_return n;
  }
  task<std::size_t> async_read_some(std::span<std::byte> out, std::error_code& error) {
    if (!detail::async_begin_transfer(error)) co_return 0;
    if (out.empty() || !buffered().empty()) co_return buffer_.take_into(out);
    if (goes_direct(out.size())) co_return co_await stream_.async_read_some(out, error);
    buffer_.filled(co_await stream_.async_read_some(buffer_.room(), error));
    co_return buffer_.take_into(out);
  }
  task<std::uint64_t> async_skip(std::uint64_t size) {
    std::error_code error;
    const auto n = co_await async_skip(size, error);
    detail::raise_if(error, "thrum: skip");
    co_return n;
  }
  task<std::uint64_t> async_skip(std::uint64_t size, std::error_code& error) {
    if (!detail::async_begin_transfer(error)) co_return 0;
    std::uint64_t done = drop(size);
    while (done < size && !error) {
      const auto n = co_await stream_.async_read_some(buffer_.room(), error);
      if (n == 0) break;
      buffer_.filled(n);
      done += drop(size - done);
    }
    co_return done;
  }

 private:
  using text = std::optional<std::string_view>;

  detail::record_goal line() const noexcept {
    return {.delimiter = lines_ == line_end::crlf ? "\r\n" : "\n",
            .limit = limit_,
            .is_line = true,
            .strips_return = lines_ == line_end::any};
  }
  detail::record_goal record(std::string_view delimiter) const noexcept {
    return {.delimiter = delimiter, .limit = limit_};
  }

  // What would fill the buffer may as well skip it.
  bool goes_direct(std::size_t wanted) const noexcept { return wanted >= buffer_.size(); }
  std::span<const std::byte> front(std::size_t size) const noexcept {
    return buffered().first(std::min(size, buffered().size()));
  }
  std::uint64_t drop(std::uint64_t size) noexcept {
    const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(size, buffered().size()));
    buffer_.take(n);
    return n;
  }
  // Of read_exactly(): how many of the bytes that a read gave are in `out` now.
  std::size_t came(bool direct, std::size_t n, std::span<std::byte> out, std::error_code& error) noexcept {
    if (n == 0 && !error) error = std::make_error_code(std::errc::connection_aborted);
    if (direct) return n;
    buffer_.filled(n);
    return buffer_.take_into(out);
  }

  // False at the end of the stream, and with an error.
  bool fill(std::error_code& error) {
    const auto n = stream_.read_some(buffer_.room(), error);
    buffer_.filled(n);
    return n > 0;
  }
  template <class Goal>
  void reach(Goal& goal, std::error_code& error) {
    if (!detail::begin_transfer(error)) return;
    for (bool ended = false; !goal.met(buffer_, ended, error);) {
      ended = !fill(error);
      if (error) return;
    }
  }
  template <class Goal>
  task<void> async_reach(Goal& goal, std::error_code& error) {
    if (!detail::async_begin_transfer(error)) co_return;
    for (bool ended = false; !goal.met(buffer_, ended, error);) {
      const auto n = co_await stream_.async_read_some(buffer_.room(), error);
      if (error) co_return;
      buffer_.filled(n);
      ended = n == 0;
    }
  }

  text find(detail::record_goal goal, std::error_code& error) {
    reach(goal, error);
    return goal.record;
  }
  text checked(const detail::record_goal& goal, const char* what) {
    std::error_code error;
    const auto found = find(goal, error);
    detail::raise_if(error, what);
    return found;
  }
  // The task owns its delimiter; a line's is a constant.
  task<text> async_find(detail::record_goal goal, std::string delimiter, std::error_code& error) {
    if (!goal.is_line) goal.delimiter = delimiter;
    co_await async_reach(goal, error);
    co_return goal.record;
  }
  task<text> async_checked(detail::record_goal goal, std::string delimiter, const char* what) {
    std::error_code error;
    const auto found = co_await async_find(goal, std::move(delimiter), error);
    detail::raise_if(error, what);
    co_return found;
  }

  Stream& stream_;
  detail::read_buffer buffer_;
  std::size_t limit_;
  line_end lines_;
};

}  // namespace thrum::net
