// The parts of buffered_reader and buffered_writer that do not depend on the stream.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <system_error>

namespace thrum::detail {

// Bytes that have been read and not yet been asked for, in one piece. It grows by need, to less than four times what it
// holds, and is small again once it was empty. Not thread-safe.
class read_buffer {
 public:
  explicit read_buffer(std::size_t size) noexcept : size_(size ? size : 1) {}

  std::size_t size() const noexcept { return size_; }
  std::span<const std::byte> held() const noexcept { return {bytes_.get() + first_, last_ - first_}; }
  std::string_view text() const noexcept {
    return {reinterpret_cast<const char*>(bytes_.get()) + first_, last_ - first_};
  }

  // Where the next bytes go: never empty. Invalidates what held() and take() gave.
  std::span<std::byte> room();
  void filled(std::size_t n) noexcept { last_ += n; }

  // Removes bytes from the front; they stay where they are until the next room().
  std::span<const std::byte> take(std::size_t n) noexcept;
  std::size_t take_into(std::span<std::byte> out) noexcept;
  // Puts bytes before all others.
  void put_back(std::span<const std::byte> bytes);

 private:
  void move_to(std::size_t capacity, std::size_t gap);

  const std::size_t size_;  // What it begins with.
  std::unique_ptr<std::byte[]> bytes_;
  std::size_t capacity_ = 0, first_ = 0, last_ = 0;
};

// A record that a delimiter ends. met() says whether there is one, or that there never will be, which is in the error.
struct record_goal {
  std::string_view delimiter;
  std::size_t limit;           // In bytes, with the delimiter.
  bool is_line = false;        // Without the delimiter; the end of the stream ends the last one.
  bool strips_return = false;  // And without a '\r' before the delimiter.
  std::size_t searched = 0;    // So many bytes have no delimiter.
  std::optional<std::string_view> record{};

  bool met(read_buffer& b, bool ended, std::error_code& error);
};

// So many bytes; fewer at the end of the stream.
struct peek_goal {
  std::size_t wanted;
  std::size_t limit;

  bool met(const read_buffer& b, bool ended, std::error_code& error) const;
};

// Bytes that have been written and not yet been sent. Of fixed size. Not thread-safe.
class write_buffer {
 public:
  explicit write_buffer(std::size_t size) noexcept : size_(size) {}

  std::size_t size() const noexcept { return size_; }
  std::size_t room() const noexcept { return size_ - last_; }
  std::span<const std::byte> held() const noexcept { return {bytes_.get() + first_, last_ - first_}; }
  void append(std::span<const std::byte> data);  // No more than there is room for.
  void sent(std::size_t n) noexcept;

 private:
  const std::size_t size_;
  std::unique_ptr<std::byte[]> bytes_;  // From the first byte on.
  std::size_t first_ = 0, last_ = 0;
};

}  // namespace thrum::detail
