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
// lost. (The idea is that of Go's io.Copy.)
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
    left_ -= n;
    return {bytes_.get(), n};
  }

 private:
  std::uint64_t left_;
  const std::size_t size_;
  const std::unique_ptr<std::byte[]> bytes_;
};

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
