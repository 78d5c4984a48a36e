// Moves bytes from one descriptor to another inside the kernel, without a copy in the program: between sockets of
// streams and pipes, by splice(2) and a pipe of the kernel's in between.
//
//   auto held = thrum::net::splice_buffer::make();
//   const auto n = thrum::net::splice(client, backend, held);        // Until the client has ended its side.
//
// What has been read and could not be written stays in the buffer, and is not lost: another call goes on with it, and
// take() brings it into memory. copy() and relay() use this by themselves where much passes; so it is for those who
// want to know what became of every byte.
//
// Of streams: tcp_stream, unix_stream, byte_stream, pipe_reader and pipe_writer. splice() suspends and is a
// cancellation point; the rest never suspends. Throw std::system_error, or report in an error_code, cancellation
// included (errc::operation_canceled); errc::invalid_argument where the kernel cannot do it with such a descriptor, for
// which there is copy(). Sizes are in bytes. In a simulation there are no such buffers: errc::operation_not_supported.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <system_error>
#include <utility>

#include <thrum/detail/transfer.hpp>
#include <thrum/net/socket.hpp>
#include <thrum/task.hpp>

namespace thrum::net {

// A pipe of the kernel's, two descriptors. Not thread-safe; movable while no call uses it. Its destructor drops what it
// holds.
class splice_buffer {
 public:
  splice_buffer() noexcept = default;
  splice_buffer(splice_buffer&& other) noexcept { swap(other); }
  splice_buffer& operator=(splice_buffer&& other) noexcept {
    splice_buffer moved(std::move(other));
    swap(moved);
    return *this;
  }
  ~splice_buffer();

  // Such as errc::too_many_files_open.
  static splice_buffer make();
  static splice_buffer make(std::error_code& error) noexcept;

  bool is_open() const noexcept { return in_ >= 0; }
  std::size_t size() const noexcept { return size_; }  // So much is in it.
  // Moves as much of it as there is room for into memory, the oldest first.
  std::size_t take(std::span<std::byte> into) noexcept;

 private:
  friend struct detail::splicing;
  void swap(splice_buffer& other) noexcept {
    std::swap(in_, other.in_);
    std::swap(out_, other.out_);
    std::swap(size_, other.size_);
  }

  int in_ = -1, out_ = -1;
  std::size_t size_ = 0;
};

}  // namespace thrum::net

namespace thrum::detail {

// The steps. Errors are reported; fill() takes an empty buffer, and returns 0 at the end of the stream.
struct splicing {
  static std::size_t fill(net::socket& from, net::splice_buffer& buffer, std::uint64_t at_most, std::error_code& error);
  static std::size_t drain(net::socket& to, net::splice_buffer& buffer, std::error_code& error);
  static task<std::size_t> async_fill(net::socket& from, net::splice_buffer& buffer, std::uint64_t at_most,
                                      std::error_code& error);
  static task<std::size_t> async_drain(net::socket& to, net::splice_buffer& buffer, std::error_code& error);
  static long try_fill(net::socket& from, int fd, net::splice_buffer& buffer, std::uint64_t at_most) noexcept;
  static long try_drain(net::socket& to, int fd, net::splice_buffer& buffer) noexcept;

  // The kernel cannot do it with such a descriptor.
  static bool refused(const std::error_code& error) noexcept { return error == std::errc::invalid_argument; }
  template <class To>
  static bool may_write(const To& to, std::error_code& error) noexcept {
    if (to.broken_) error = std::make_error_code(std::errc::broken_pipe);
    return !to.broken_;
  }
  template <class To>
  static void break_off(To& to) noexcept {
    to.break_off();
  }

 private:
  static std::size_t filled(net::splice_buffer& buffer, long n) noexcept;
  static std::size_t drained(net::splice_buffer& buffer, long n, std::error_code& error) noexcept;
};

// Ours themselves: what derives from them may have a read_some() of its own.
template <class Stream>
concept plain_descriptor = std::same_as<typename Stream::plain_descriptor, Stream>;
template <class From, class To>
inline constexpr bool can_be_spliced = false;
template <class From, class To>
requires plain_descriptor<From> && plain_descriptor<To>
inline constexpr bool can_be_spliced<From, To> = true;

}  // namespace thrum::detail

namespace thrum::net {

// What the buffer holds already, and then what comes, until the end of `from` or until `limit` was read. Returns how
// much was written, exactly.
template <class From, class To>
requires detail::can_be_spliced<From, To> std::uint64_t splice(From& from, To& to, splice_buffer& buffer,
                                                               std::uint64_t limit, std::error_code& error) {
  std::uint64_t written = 0;
  if (!detail::begin_transfer(error) || !detail::splicing::may_write(to, error)) return written;
  for (;;) {
    written += detail::splicing::drain(to, buffer, error);
    if (error || limit == 0) return written;
    const auto n = detail::splicing::fill(from, buffer, limit, error);
    if (n == 0) return written;
    limit -= n;
  }
}
template <class From, class To>
requires detail::can_be_spliced<From, To> std::uint64_t splice(From& from, To& to, splice_buffer& buffer,
                                                               std::uint64_t limit = UINT64_MAX) {
  std::error_code error;
  const auto n = splice(from, to, buffer, limit, error);
  detail::raise_if(error, "thrum: splice");
  return n;
}

// For tasks: co_await them. The streams, the buffer and the error_code must outlive the call.
template <class From, class To>
requires detail::can_be_spliced<From, To> task<std::uint64_t> async_splice(From& from, To& to, splice_buffer& buffer,
                                                                           std::uint64_t limit,
                                                                           std::error_code& error) {
  std::uint64_t written = 0;
  if (!detail::async_begin_transfer(error) || !detail::splicing::may_write(to, error)) co_return written;
  for (;;) {
    written += co_await detail::splicing::async_drain(to, buffer, error);
    if (error || limit == 0) co_return written;
    const auto n = co_await detail::splicing::async_fill(from, buffer, limit, error);
    if (n == 0) co_return written;
    limit -= n;
  }
}
template <class From, class To>
requires detail::can_be_spliced<From, To> task<std::uint64_t> async_splice(From& from, To& to, splice_buffer& buffer,
                                                                           std::uint64_t limit = UINT64_MAX) {
  std::error_code error;
  const auto n = co_await async_splice(from, to, buffer, limit, error);
  detail::raise_if(error, "thrum: splice");
  co_return n;
}

}  // namespace thrum::net
