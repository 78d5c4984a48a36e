// Sending files: sendfile(2) for what is in the page cache, and read and write for everything else.
//
// Rejected: sendfile(2) on a thread of the pool. The thread would hold the number of a socket that another fiber may
// close meanwhile, and the number may be another's by then; a duplicate would keep the connection open. A file's
// descriptor has no such trouble, as a file is not closed while a call uses it.
#include <thrum/send_file.hpp>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <memory>
#include <span>

#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

#include <thrum/detail/transfer.hpp>
#include <thrum/task.hpp>

#include "net/quiet_call.hpp"
#include "net/socket_operation.hpp"
#include "net/stream_loops.hpp"
#include "net/system_calls.hpp"

namespace thrum {

struct file_sending {
  // Where it is, and what is left.
  struct progress {
    std::uint64_t at, left;
    std::uint64_t done = 0;

    std::size_t piece(std::size_t at_most) const noexcept {
      return static_cast<std::size_t>(std::min<std::uint64_t>(left, at_most));
    }
    void advance(std::uint64_t n) noexcept { at += n, left -= n, done += n; }
  };

  // One sendfile(2).
  struct piece_call {
    int from;
    std::uint64_t at;
    std::size_t size;
    long operator()(int to) const noexcept {
      auto offset = static_cast<off_t>(at);
      return net::call_quietly([&] { return ::sendfile(to, from, &offset, size); });
    }
  };

  file_sending(net::byte_stream& stream, file& f, std::uint64_t offset, std::uint64_t count) noexcept
      : to(stream), from(f), rest{offset, count}, refused(net::system::own() != nullptr) {}

  bool begin(std::error_code& error) const noexcept {
    error.clear();
    return to.may_write(error) && rest.left > 0;
  }
  bool unfinished() const noexcept { return rest.left > 0; }
  // The next piece, if it is to be sent by the kernel.
  bool can_be_sent() const noexcept {
    const auto size = rest.piece(piece_max);
    return !refused && rest.at <= INT64_MAX - size && cached(rest.at) == there &&
           cached(rest.at + (size - 1)) != elsewhere;
  }
  piece_call next_piece() const noexcept { return {from.native_handle(), rest.at, rest.piece(piece_max)}; }
  // True: nothing was sent, nor will be by this way.
  bool is_refusal(const std::error_code& error) const noexcept {
    return error == std::errc::invalid_argument || error == std::errc::function_not_supported ||
           error == std::errc::operation_not_supported;
  }
  std::span<std::byte> memory() {
    if (!bytes) bytes = std::make_unique_for_overwrite<std::byte[]>(memory_size);
    return {bytes.get(), rest.piece(memory_size)};
  }
  std::uint64_t end(const std::error_code& error) const noexcept {
    if (error && rest.done > 0) to.break_off();  // As write_all() does.
    return rest.done;
  }

  // After a piece; false: the file has ended, or the call has failed.
  bool sent(long n, std::error_code& error) noexcept {
    if (n < 0 && is_refusal(error)) {
      error.clear();
      return refused = true;
    }
    if (n > 0) rest.advance(static_cast<std::uint64_t>(n));
    return n > 0;
  }
  bool send(std::error_code& error) { return sent(to.perform(direction::writing, error, next_piece()), error); }
  task<bool> async_send(std::error_code& error) {
    const auto call = next_piece();
    const long n = co_await to.async_perform(direction::writing, error, call);
    co_return sent(n, error);
  }

  bool copy(std::error_code& error) {
    const auto read = memory().first(from.read_at(rest.at, memory(), error));
    if (!error) rest.advance(to.write_all(read, error));
    return !error && !read.empty();
  }
  task<bool> async_copy(std::error_code& error) {
    const auto n = co_await from.async_read_at(rest.at, memory(), error);
    const auto read = memory().first(n);
    if (!error) {
      const auto written = co_await to.async_write_all(read, error);
      rest.advance(written);
    }
    co_return !error && n > 0;
  }

 private:
  using direction = net::byte_stream::direction;
  enum presence { there, elsewhere, beyond_the_end };
  static constexpr std::size_t piece_max = 256 * 1024;  // For so much the worker does nothing else.
  static constexpr std::size_t memory_size = 64 * 1024;

  // Whether a byte can be had without waiting for the disk.
  presence cached(std::uint64_t at) const noexcept {
    std::byte ignored;
    const iovec room{&ignored, 1};
    const auto n = ::preadv2(from.native_handle(), &room, 1, static_cast<off_t>(at), RWF_NOWAIT);
    return n > 0 ? there : n == 0 ? beyond_the_end : elsewhere;
  }

  net::byte_stream& to;
  file& from;
  progress rest;
  bool refused;
  std::unique_ptr<std::byte[]> bytes;  // From the first piece on that goes through memory.
};

std::uint64_t send_file(net::byte_stream& to, file& from, std::uint64_t offset, std::uint64_t count,
                        std::error_code& error) {
  file_sending s(to, from, offset, count);
  if (!s.begin(error)) return 0;
  while (s.unfinished())
    if (!(s.can_be_sent() ? s.send(error) : s.copy(error))) break;
  return s.end(error);
}

std::uint64_t send_file(net::byte_stream& to, file& from, std::uint64_t offset, std::uint64_t count) {
  return net::or_throw("thrum: send_file", [&](auto& error) { return send_file(to, from, offset, count, error); });
}

task<std::uint64_t> async_send_file(net::byte_stream& to, file& from, std::uint64_t offset, std::uint64_t count,
                                    std::error_code& error) {
  file_sending s(to, from, offset, count);
  if (!s.begin(error)) co_return 0;
  for (bool goes_on = true; goes_on && s.unfinished();) {
    if (s.can_be_sent())
      goes_on = co_await s.async_send(error);
    else
      goes_on = co_await s.async_copy(error);
  }
  co_return s.end(error);
}

task<std::uint64_t> async_send_file(net::byte_stream& to, file& from, std::uint64_t offset, std::uint64_t count) {
  std::error_code error;
  const auto n = co_await async_send_file(to, from, offset, count, error);
  detail::raise_if(error, "thrum: send_file");
  co_return n;
}

}  // namespace thrum
