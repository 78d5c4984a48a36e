// Several buffers that one call reads into or writes from, in their order, as if they were one.
//
//   const std::array parts{std::as_bytes(std::span(header)), std::as_bytes(std::span(body))};
//   stream.write_all(parts);
//
// What is named here, the array as well as the bytes, must outlive the call.
#pragma once

#include <concepts>
#include <cstddef>
#include <span>

namespace thrum::net {

// For reading: from an array, vector or span of std::span<std::byte>.
class mutable_buffers {
 public:
  using all = std::span<const std::span<std::byte>>;
  template <class Range>
  requires std::convertible_to<const Range&, all> mutable_buffers(const Range& r)
  noexcept : all_(r) {}

  all list() const noexcept { return all_; }

 private:
  all all_;
};

// For writing: from an array, vector or span of std::span<const std::byte>.
class const_buffers {
 public:
  using all = std::span<const std::span<const std::byte>>;
  template <class Range>
  requires std::convertible_to<const Range&, all> const_buffers(const Range& r)
  noexcept : all_(r) {}

  all list() const noexcept { return all_; }

 private:
  all all_;
};

}  // namespace thrum::net
