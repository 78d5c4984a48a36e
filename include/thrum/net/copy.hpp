// Copies a stream into another, and relays between two.
//
//   const auto size = thrum::net::copy(connection, log);
//   const auto upload = thrum::net::copy(connection, file, {.limit = 10'000'000});
//   thrum::net::relay(client, backend);                 // Both directions, as a proxy does, until both have ended.
//
// A stream to copy from has read_some(span, error_code&), one to copy to has write_all(span, error_code&), for the
// twins async_read_some and async_write_all; relay() also needs shutdown_write(error_code&). Buffered readers and
// writers are such streams; a writer is not flushed. Sizes are in bytes.
//
// All suspend and are cancellation points. They throw std::system_error; the overloads with an error_code report in it,
// cancellation included, and return how much was written. What was read and could not be written, up to a buffer, is
// lost; splice.hpp is for those who cannot afford that. (The idea is that of Go's io.Copy.)
//
// Between TCP and Unix streams and pipes, bytes that come in bulk are moved inside the kernel, by splice(2): from the
// second time in a row that a whole buffer was read. That takes two descriptors, and is left when there are none.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <system_error>
#include <utility>

#include <thrum/detail/transfer.hpp>
#include <thrum/net/splice.hpp>
#include <thrum/scope.hpp>
#include <thrum/task.hpp>
#include <thrum/task_scope.hpp>

namespace thrum::net {

struct copy_options {
  std::uint64_t limit = UINT64_MAX;  // So much is read at most; the rest stays in the stream.
  std::size_t buffer_size = 16384;   // At least 1; allocated for the time of the call.
};

// What relay() has written in each direction.
struct relayed {
  std::uint64_t to_second = 0, to_first = 0;
};

}  // namespace thrum::net

namespace thrum::detail {

class copy_buffer {
 public:
  explicit copy_buffer(const net::copy_options& o)
      : left_(o.limit), size_(std::max<std::size_t>(o.buffer_size, 1)), bytes_(new std::byte[size_]) {}

  std::span<std::byte> room() const noexcept {
    return {bytes_.get(), static_cast<std::size_t>(std::min<std::uint64_t>(size_, left_))};
  }
  std::span<const std::byte> filled(std::size_t n) noexcept {
    whole_in_a_row_ = n == size_ ? whole_in_a_row_ + 1 : 0;
    left_ -= n;
    return {bytes_.get(), n};
  }

  // Much comes: it is worth a splice_buffer, which is asked for once.
  bool wants_splicing() noexcept {
    if (asked_ || whole_in_a_row_ < 2) return false;
    return asked_ = true;
  }
  std::uint64_t left() const noexcept { return left_; }
  void passed(std::uint64_t n) noexcept { left_ -= n; }
  // What the kernel would not move on: at most a buffer of it each time.
  std::span<const std::byte> taken_from(net::splice_buffer& b) noexcept {
    return {bytes_.get(), b.take({bytes_.get(), size_})};
  }

 private:
  std::uint64_t left_;
  unsigned whole_in_a_row_ = 0;
  bool asked_ = false;
  const std::size_t size_;
  const std::unique_ptr<std::byte[]> bytes_;
};

// The rest of a copy by splice(2). True: it is over. False: the kernel has refused, and it goes on through memory.
template <class From, class To>
bool splice_rest(From& from, To& to, copy_buffer& memory, std::uint64_t& written, std::error_code& error) {
  std::error_code no_pipe;
  auto held = net::splice_buffer::make(no_pipe);
  if (no_pipe) return false;
  while (memory.left() > 0) {
    const auto n = splicing::fill(from, held, memory.left(), error);
    if (n == 0) break;
    memory.passed(n);
    written += splicing::drain(to, held, error);
    if (error) break;
  }
  if (!splicing::refused(error)) {
    if (held.size() > 0) splicing::break_off(to);  // As write_all() does.
    return true;
  }
  for (error.clear(); !error && held.size() > 0;) written += to.write_all(memory.taken_from(held), error);
  return false;
}
template <class From, class To>
task<bool> async_splice_rest(From& from, To& to, copy_buffer& memory, std::uint64_t& written, std::error_code& error) {
  std::error_code no_pipe;
  auto held = net::splice_buffer::make(no_pipe);
  if (no_pipe) co_return false;
  while (memory.left() > 0) {
    const auto n = co_await splicing::async_fill(from, held, memory.left(), error);
    if (n == 0) break;
    memory.passed(n);
    written += co_await splicing::async_drain(to, held, error);
    if (error) break;
  }
  if (!splicing::refused(error)) {
    if (held.size() > 0) splicing::break_off(to);
    co_return true;
  }
  for (error.clear(); !error && held.size() > 0;)
    written += co_await to.async_write_all(memory.taken_from(held), error);
  co_return false;
}

}  // namespace thrum::detail

namespace thrum::net {

// Until the end of `from`, or the limit. Returns how much was written.
template <class From, class To>
std::uint64_t copy(From& from, To& to, const copy_options& options, std::error_code& error) {
  std::uint64_t written = 0;
  if (!detail::begin_transfer(error)) return written;
  detail::copy_buffer buffer(options);
  while (!error && !buffer.room().empty()) {
    const auto n = from.read_some(buffer.room(), error);
    if (error || n == 0) break;
    written += to.write_all(buffer.filled(n), error);
    if constexpr (detail::can_be_spliced<From, To>)
      if (!error && buffer.wants_splicing() && detail::splice_rest(from, to, buffer, written, error)) break;
  }
  return written;
}
template <class From, class To>
std::uint64_t copy(From& from, To& to, std::error_code& error) {
  return copy(from, to, copy_options{}, error);
}
template <class From, class To>
std::uint64_t copy(From& from, To& to, const copy_options& options = {}) {
  std::error_code error;
  const auto n = copy(from, to, options, error);
  detail::raise_if(error, "thrum: copy");
  return n;
}

// For tasks: co_await them. The streams and the error_code must outlive the call.
template <class From, class To>
task<std::uint64_t> async_copy(From& from, To& to, copy_options options, std::error_code& error) {
  std::uint64_t written = 0;
  if (!detail::async_begin_transfer(error)) co_return written;
  detail::copy_buffer buffer(options);
  while (!error && !buffer.room().empty()) {
    const auto n = co_await from.async_read_some(buffer.room(), error);
    if (error || n == 0) break;
    written += co_await to.async_write_all(buffer.filled(n), error);
    if constexpr (detail::can_be_spliced<From, To>)
      if (!error && buffer.wants_splicing()) {
        const bool over = co_await detail::async_splice_rest(from, to, buffer, written, error);
        if (over) break;
      }
  }
  co_return written;
}
template <class From, class To>
task<std::uint64_t> async_copy(From& from, To& to, std::error_code& error) {
  return async_copy(from, to, copy_options{}, error);
}
template <class From, class To>
task<std::uint64_t> async_copy(From& from, To& to, copy_options options = {}) {
  std::error_code error;
  const auto n = co_await async_copy(from, to, options, error);
  detail::raise_if(error, "thrum: copy");
  co_return n;
}

}  // namespace thrum::net

namespace thrum::detail {

template <class From, class To>
void relay_half(From& from, To& to, const net::copy_options& options, std::uint64_t& written) {
  std::error_code error;
  written = net::copy(from, to, options, error);
  if (!error) to.shutdown_write(error);
  raise_if(error, "thrum: relay");
}
template <class From, class To>
task<void> async_relay_half(From& from, To& to, net::copy_options options, std::uint64_t& written) {
  std::error_code error;
  written = co_await net::async_copy(from, to, options, error);
  if (!error) to.shutdown_write(error);
  raise_if(error, "thrum: relay");
}

}  // namespace thrum::detail

namespace thrum::net {

// Each direction until its end, or the limit, which the other side then reads as the end of the stream. The first
// failure cancels the other direction and is thrown. In a fiber; it starts another one.
template <class First, class Second>
relayed relay(First& first, Second& second, const copy_options& options = {}) {
  relayed n;
  with_scope(std::chrono::nanoseconds::max(), [&](scope& both) {
    both.go([&] { detail::relay_half(second, first, options, n.to_first); });
    detail::relay_half(first, second, options, n.to_second);
  });
  return n;
}
// For tasks: co_await it. The streams must outlive the call.
template <class First, class Second>
task<relayed> async_relay(First& first, Second& second, copy_options options = {}) {
  relayed n;
  co_await async_with_scope([&](scope& both) -> task<> {
    go_in(both, detail::async_relay_half(second, first, options, n.to_first));
    go_in(both, detail::async_relay_half(first, second, options, n.to_second));
    co_return;
  });
  co_return n;
}

}  // namespace thrum::net
