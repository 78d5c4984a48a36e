// One direction of a memory_stream: a ring of bytes with a writer and a reader.
//
// A side that finds nothing to be done remembers, under the lock, how often the other side has changed something, and
// waits on that count's address until it is another: whoever changes something counts before it wakes.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <system_error>

#include <thrum/detail/object_lock.hpp>

namespace thrum::detail {

class byte_queue {
 public:
  using count = std::atomic<std::uint32_t>;

  explicit byte_queue(std::size_t capacity) : capacity_(capacity ? capacity : 1), ring_(new std::byte[capacity_]) {}

  // Nothing when the caller has to wait until changes_for_...() differs from `seen`.
  std::optional<std::size_t> read(std::span<std::byte> out, std::uint32_t& seen, std::error_code& error) noexcept;
  std::optional<std::size_t> write(std::span<const std::byte> data, std::uint32_t& seen,
                                   std::error_code& error) noexcept;
  const count& changes_for_reader() const noexcept { return changes_for_reader_; }
  const count& changes_for_writer() const noexcept { return changes_for_writer_; }

  void end(std::error_code& error) noexcept;  // The writer shuts down.
  void close_writer() noexcept;
  void close_reader() noexcept;
  bool reader_is_open() noexcept;

 private:
  enum class writer : std::uint8_t { open, ended, closed };

  std::size_t put(std::span<const std::byte> data) noexcept;
  std::size_t take(std::span<std::byte> out) noexcept;
  void close(writer how) noexcept;
  void wake_reader() noexcept;
  void wake_writer() noexcept;

  const std::size_t capacity_;
  const std::unique_ptr<std::byte[]> ring_;

  object_lock lock_;  // Guards what follows. It is held while bytes are copied, so that these are limited.
  std::size_t first_ = 0, held_ = 0;
  writer writer_ = writer::open;
  bool reader_closed_ = false;

  // Changed under the lock. Relaxed: the lock orders them, and the one who waits reads them again with acquire.
  count changes_for_reader_{0}, changes_for_writer_{0};
};

}  // namespace thrum::detail
