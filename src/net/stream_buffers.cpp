// Memory and searching of buffered readers and writers.
#include <thrum/detail/stream_buffers.hpp>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/assert.hpp"

namespace thrum::detail {

// Moving costs at most half a buffer and gains as much, so that it pays however few bytes were taken.
std::span<std::byte> read_buffer::room() {
  const auto held = last_ - first_;
  if (held == 0) {
    first_ = last_ = 0;
    if (capacity_ != size_) move_to(size_, 0);
  } else if (last_ == capacity_) {
    move_to(held <= capacity_ / 2 ? capacity_ : 2 * capacity_, 0);
  }
  return {bytes_.get() + last_, capacity_ - last_};
}

// What is held comes `gap` bytes behind the front.
void read_buffer::move_to(std::size_t capacity, std::size_t gap) {
  const auto held = last_ - first_;
  if (capacity == capacity_) {
    if (held != 0) std::memmove(bytes_.get() + gap, bytes_.get() + first_, held);
  } else {
    std::unique_ptr<std::byte[]> larger(new std::byte[capacity]);  // Not made zero.
    if (held != 0) std::memcpy(larger.get() + gap, bytes_.get() + first_, held);
    bytes_ = std::move(larger);
    capacity_ = capacity;
  }
  first_ = gap;
  last_ = gap + held;
}

std::span<const std::byte> read_buffer::take(std::size_t n) noexcept {
  const auto taken = held().first(n);
  first_ += n;
  return taken;
}

std::size_t read_buffer::take_into(std::span<std::byte> out) noexcept {
  const auto n = std::min(out.size(), last_ - first_);
  std::ranges::copy(take(n), out.begin());
  return n;
}

void read_buffer::put_back(std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
  if (first_ < bytes.size()) move_to(std::max(capacity_, bytes.size() + (last_ - first_)), bytes.size());
  first_ -= bytes.size();
  std::ranges::copy(bytes, bytes_.get() + first_);
}

bool record_goal::met(read_buffer& b, bool ended, std::error_code& error) {
  if (delimiter.empty()) base::panic("read_until() needs a delimiter");
  const auto text = b.text();
  // The last bytes of what was searched may be the first ones of the delimiter.
  const auto from = searched < delimiter.size() ? 0 : searched - delimiter.size() + 1;
  const auto at = text.find(delimiter, from);
  const auto size = at == text.npos ? text.size() : at + delimiter.size();
  if (at == text.npos ? size >= limit : size > limit) {
    error = std::make_error_code(std::errc::message_size);
    return true;
  }
  if (at != text.npos) {
    b.take(size);
    const bool strips = strips_return && at > 0 && text[at - 1] == '\r';
    record = text.substr(0, !is_line ? size : strips ? at - 1 : at);
    return true;
  }
  searched = size;
  if (!ended) return false;
  if (is_line && size > 0) {
    b.take(size);
    record = text;
  } else if (size > 0) {
    error = std::make_error_code(std::errc::connection_aborted);
  }
  return true;
}

bool peek_goal::met(const read_buffer& b, bool ended, std::error_code& error) const {
  if (b.held().size() >= wanted) return true;
  if (wanted > limit) error = std::make_error_code(std::errc::message_size);
  return ended || error;
}

void write_buffer::append(std::span<const std::byte> data) {
  if (data.empty()) return;
  if (!bytes_) bytes_.reset(new std::byte[size_]);
  std::ranges::copy(data, bytes_.get() + last_);
  last_ += data.size();
}

void write_buffer::sent(std::size_t n) noexcept {
  first_ += n;
  if (first_ == last_) first_ = last_ = 0;
}

}  // namespace thrum::detail
