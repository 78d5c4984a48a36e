// How values travel between processes: into bytes and descriptors, and back.
//
//   template <>
//   struct thrum::wire_format<account> {
//     static void write(wire_writer& to, const account& a) { to.write(a.name), to.write(a.balance); }
//     static account read(wire_reader& from) {
//       auto name = from.read<std::string>();
//       return {std::move(name), from.read<long>()};
//     }
//   };
//
// Known without that: types that can be copied as bytes (no pointers: those of the other process mean nothing here),
// std::string, std::vector, std::pair, std::tuple, std::optional of all these, thrum::shared_memory; and as parameters
// of a function, std::string_view and std::span<const T>, which refer to the bytes as they came. A struct is copied as
// bytes when that is possible, whatever its members mean: what holds a pointer needs a wire_format of its own.
//
// Both processes run the same program, so numbers are written as they lie in memory; this is no format for files. What
// is read may be garbage: every length is checked before it is believed, and reading throws wire_error.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <thrum/net/descriptor.hpp>

namespace thrum {

// Bytes that are not what they should be.
class wire_error : public std::runtime_error {
 public:
  explicit wire_error(const char* what) : std::runtime_error(what) {}
};

template <class T>
struct wire_format;

// No alignment is larger than this.
inline constexpr std::size_t wire_alignment = 16;

// Neither suspends; each is used by one activity at a time.
class wire_writer {
 public:
  template <class T>
  void write(const T& value) {
    wire_format<T>::write(*this, value);
  }

  // Bytes as they are, at a multiple of `alignment`.
  void put(const void* bytes, std::size_t size, std::size_t alignment = 1) {
    const auto* first = static_cast<const std::byte*>(bytes);
    bytes_.resize((bytes_.size() + alignment - 1) & ~(alignment - 1));
    bytes_.insert(bytes_.end(), first, first + size);
  }
  // A descriptor that goes along. At most 16 in one message.
  void put(net::descriptor d) { descriptors_.push_back(std::move(d)); }

  std::vector<std::byte>& bytes() noexcept { return bytes_; }
  std::vector<net::descriptor>& descriptors() noexcept { return descriptors_; }

 private:
  std::vector<std::byte> bytes_;
  std::vector<net::descriptor> descriptors_;
};

class wire_reader {
 public:
  // The bytes begin at a multiple of wire_alignment, and outlive the reader and what refers to them.
  explicit wire_reader(std::span<const std::byte> bytes, std::span<net::descriptor> descriptors = {}) noexcept
      : bytes_(bytes), descriptors_(descriptors) {}

  // Throws wire_error, and what making a T throws.
  template <class T>
  T read() {
    return wire_format<T>::read(*this);
  }

  // The next `size` bytes from a multiple of `alignment` on.
  std::span<const std::byte> take(std::size_t size, std::size_t alignment = 1) {
    const auto at = (at_ + alignment - 1) & ~(alignment - 1);
    if (at > bytes_.size() || size > bytes_.size() - at) throw wire_error("thrum: a message ends too early");
    at_ = at + size;
    return bytes_.subspan(at, size);
  }
  net::descriptor take_descriptor() {
    if (descriptors_.empty()) throw wire_error("thrum: a message lacks a descriptor");
    auto d = std::move(descriptors_.front());
    descriptors_ = descriptors_.subspan(1);
    return d;
  }

  // A number of elements that follow, each of `size` bytes at least: no more than there can be.
  std::size_t read_count(std::size_t size) {
    const auto count = read<std::uint64_t>();
    if (count > (bytes_.size() - at_) / size) throw wire_error("thrum: a message has an impossible length");
    return static_cast<std::size_t>(count);
  }

  // Throws wire_error when anything is left.
  void end() {
    if (at_ != bytes_.size() || !descriptors_.empty()) throw wire_error("thrum: a message is too long");
    ended_ = true;
  }
  bool ended() const noexcept { return ended_; }

 private:
  std::span<const std::byte> bytes_;
  std::span<net::descriptor> descriptors_;
  std::size_t at_ = 0;
  bool ended_ = false;
};

namespace detail {

// What can be copied as bytes, as far as one can tell.
template <class T>
concept plain_bytes = std::is_trivially_copyable_v<T> && std::is_object_v<T> && !std::is_pointer_v<T> &&
                      !std::is_member_pointer_v<T> && !std::is_null_pointer_v<T> && !std::is_array_v<T>;

template <class T>
inline constexpr bool is_view = false;
template <class C, class Traits>
inline constexpr bool is_view<std::basic_string_view<C, Traits>> = true;
template <class T, std::size_t N>
inline constexpr bool is_view<std::span<T, N>> = true;
// Of which many can be copied at once.
template <class T>
concept contiguous_bytes = plain_bytes<T> && requires {
  wire_format<T>::as_bytes;
} && alignof(T) <= wire_alignment;

template <class T>
T from_bytes(std::span<const std::byte> bytes) {
  std::array<std::byte, sizeof(T)> copy;
  std::memcpy(copy.data(), bytes.data(), sizeof(T));
  return __builtin_bit_cast(T, copy);
}

}  // namespace detail

// To be specialised for types of one's own.
template <class T>
struct wire_format {
  static_assert(detail::plain_bytes<T>,
                "a type that cannot be copied as bytes, or points into this process: specialise thrum::wire_format");
  static_assert(!detail::is_view<T>, "a view is not sent back: it would refer to nothing");
  static constexpr bool as_bytes = true;
  static void write(wire_writer& to, const T& value) { to.put(&value, sizeof value); }
  static T read(wire_reader& from) { return detail::from_bytes<T>(from.take(sizeof(T))); }
};

template <>
struct wire_format<bool> {
  static void write(wire_writer& to, bool value) { to.write(static_cast<unsigned char>(value)); }
  static bool read(wire_reader& from) {
    const auto value = from.read<unsigned char>();
    if (value > 1) throw wire_error("thrum: a message has a bool that is none");
    return value != 0;
  }
};

template <>
struct wire_format<std::string_view> {
  static void write(wire_writer& to, std::string_view text) {
    to.write(static_cast<std::uint64_t>(text.size()));
    to.put(text.data(), text.size());
  }
  static std::string_view read(wire_reader& from) {
    const auto bytes = from.take(from.read_count(1));
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
};

template <>
struct wire_format<std::string> {
  static void write(wire_writer& to, const std::string& text) { to.write(std::string_view(text)); }
  static std::string read(wire_reader& from) { return std::string(from.read<std::string_view>()); }
};

template <detail::contiguous_bytes T>
struct wire_format<std::span<const T>> {
  static void write(wire_writer& to, std::span<const T> all) {
    to.write(static_cast<std::uint64_t>(all.size()));
    to.put(all.data(), all.size_bytes(), alignof(T));
  }
  static std::span<const T> read(wire_reader& from) {
    const auto count = from.read_count(sizeof(T));
    return {reinterpret_cast<const T*>(from.take(count * sizeof(T), alignof(T)).data()), count};
  }
};

template <class T>
struct wire_format<std::vector<T>> {
  static void write(wire_writer& to, const std::vector<T>& all) {
    if constexpr (detail::contiguous_bytes<T>) {
      to.write(std::span<const T>(all));
    } else {
      to.write(static_cast<std::uint64_t>(all.size()));
      for (const T& element : all) to.write(element);
    }
  }
  static std::vector<T> read(wire_reader& from) {
    if constexpr (detail::contiguous_bytes<T>) {
      const auto view = from.read<std::span<const T>>();
      return {view.begin(), view.end()};
    } else {
      std::vector<T> all;
      for (auto count = from.read_count(1); count > 0; --count) all.push_back(from.read<T>());
      return all;
    }
  }
};

template <class T>
struct wire_format<std::optional<T>> {
  static void write(wire_writer& to, const std::optional<T>& o) {
    to.write(o.has_value());
    if (o) to.write(*o);
  }
  static std::optional<T> read(wire_reader& from) {
    if (!from.read<bool>()) return std::nullopt;
    return from.read<T>();
  }
};

template <class A, class B>
struct wire_format<std::pair<A, B>> {
  static void write(wire_writer& to, const std::pair<A, B>& p) { to.write(p.first), to.write(p.second); }
  static std::pair<A, B> read(wire_reader& from) {
    auto first = from.read<A>();
    return {std::move(first), from.read<B>()};
  }
};

template <class... T>
struct wire_format<std::tuple<T...>> {
  static void write(wire_writer& to, const std::tuple<T...>& all) {
    std::apply([&](const T&... each) { (to.write(each), ...); }, all);
  }
  // In a braced list the elements are read from left to right.
  static std::tuple<T...> read(wire_reader& from) { return std::tuple<T...>{from.read<T>()...}; }
};

}  // namespace thrum
