// The ring of a memory_stream.
#include "net/byte_queue.hpp"

#include <algorithm>
#include <cstring>
#include <mutex>

#include <thrum/wait_on_address.hpp>

namespace thrum::detail {
namespace {

constexpr std::size_t most_at_once = 16384;  // With the lock held.

}  // namespace

std::optional<std::size_t> byte_queue::read(std::span<std::byte> out, std::uint32_t& seen,
                                            std::error_code& error) noexcept {
  std::size_t n = 0;
  {
    std::lock_guard held(lock_);
    if (reader_closed_) {
      error = std::make_error_code(std::errc::bad_file_descriptor);
      return 0;
    }
    if (out.empty()) return 0;
    n = take(out.first(std::min(out.size(), most_at_once)));
    seen = changes_for_reader_.load(std::memory_order_relaxed);
    if (n == 0 && writer_ == writer::open) return {};
    if (n > 0) changes_for_writer_.fetch_add(1, std::memory_order_release);  // Pairs with who waits for the address.
  }
  if (n > 0) wake_writer();
  return n;
}

std::optional<std::size_t> byte_queue::write(std::span<const std::byte> data, std::uint32_t& seen,
                                             std::error_code& error) noexcept {
  std::size_t n = 0;
  {
    std::lock_guard held(lock_);
    if (writer_ == writer::closed) {
      error = std::make_error_code(std::errc::bad_file_descriptor);
    } else if (writer_ == writer::ended || reader_closed_) {
      error = std::make_error_code(std::errc::broken_pipe);
    }
    if (error || data.empty()) return 0;
    n = put(data.first(std::min(data.size(), most_at_once)));
    seen = changes_for_writer_.load(std::memory_order_relaxed);
    if (n == 0) return {};
    changes_for_reader_.fetch_add(1, std::memory_order_release);  // Pairs with who waits for the address.
  }
  wake_reader();
  return n;
}

std::size_t byte_queue::put(std::span<const std::byte> data) noexcept {
  const auto n = std::min(data.size(), capacity_ - held_);
  const auto last = (first_ + held_) % capacity_;
  const auto upper = std::min(n, capacity_ - last);
  if (upper > 0) std::memcpy(ring_.get() + last, data.data(), upper);
  if (n > upper) std::memcpy(ring_.get(), data.data() + upper, n - upper);
  held_ += n;
  return n;
}

std::size_t byte_queue::take(std::span<std::byte> out) noexcept {
  const auto n = std::min(out.size(), held_);
  const auto upper = std::min(n, capacity_ - first_);
  if (upper > 0) std::memcpy(out.data(), ring_.get() + first_, upper);
  if (n > upper) std::memcpy(out.data() + upper, ring_.get(), n - upper);
  first_ = (first_ + n) % capacity_;
  held_ -= n;
  return n;
}

void byte_queue::end(std::error_code& error) noexcept {
  error.clear();
  {
    std::lock_guard held(lock_);
    if (writer_ == writer::closed) error = std::make_error_code(std::errc::bad_file_descriptor);
  }
  close(writer::ended);
}

void byte_queue::close_writer() noexcept { close(writer::closed); }

// Both sides: another fiber may be about to write.
void byte_queue::close(writer how) noexcept {
  {
    std::lock_guard held(lock_);
    writer_ = std::max(writer_, how);
    changes_for_reader_.fetch_add(1, std::memory_order_release);  // Both pair with who waits for the address.
    changes_for_writer_.fetch_add(1, std::memory_order_release);
  }
  wake_reader();
  wake_writer();
}

void byte_queue::close_reader() noexcept {
  {
    std::lock_guard held(lock_);
    reader_closed_ = true;
    changes_for_reader_.fetch_add(1, std::memory_order_release);  // As above.
    changes_for_writer_.fetch_add(1, std::memory_order_release);
  }
  wake_reader();
  wake_writer();
}

bool byte_queue::reader_is_open() noexcept {
  std::lock_guard held(lock_);
  return !reader_closed_;
}

void byte_queue::wake_reader() noexcept { wake_by_address_all(changes_for_reader_); }
void byte_queue::wake_writer() noexcept { wake_by_address_all(changes_for_writer_); }

}  // namespace thrum::detail
