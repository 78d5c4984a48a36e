// The system calls about files, whole: interrupted ones repeated, short ones continued. They block, and so are run by
// the pool. Each is an object with its arguments, as it must be kept until a thread runs it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <thrum/file.hpp>

#include "blocking/call_ring.hpp"

struct dirent;

namespace thrum::files {

file_kind kind_of_mode(unsigned mode) noexcept;
file_kind kind_of_entry(const dirent& e) noexcept;

// operator() sets `error` when it fails, and leaves it alone otherwise. What a call has besides, it has for the ring:
// see has_operations in offload.hpp.
struct open_call {
  std::string path;
  open_options options;
  file operator()(std::error_code& error) const;
};
// Where a file is read or written: so many bytes from its start, or at its position.
using place = std::optional<std::uint64_t>;

struct read_call {
  int fd;
  place at;
  std::span<std::byte> buffer;
  bool all;              // Goes on until the buffer is full.
  std::size_t done = 0;  // Has been read already.
  // What can be had without blocking: on the calling thread, from the page cache. Nothing: the call is to be made, for
  // the rest.
  std::optional<std::size_t> at_once() noexcept;
  std::size_t operator()(std::error_code& error) const;

  bool may_be_made_by_kernel() const noexcept;
  detail::ring_operation operation() const noexcept;
  bool settle(int result, std::error_code& error) noexcept;
  std::size_t result() const noexcept { return done; }
};
struct write_call {
  int fd;
  place at;
  std::span<const std::byte> data;
  std::size_t done = 0;
  std::size_t operator()(std::error_code& error) const;

  bool may_be_made_by_kernel() const noexcept;
  detail::ring_operation operation() const noexcept;
  bool settle(int result, std::error_code& error) noexcept;
  std::size_t result() const noexcept { return done; }
};
struct sync_call {
  int fd;
  bool data_only;
  void operator()(std::error_code& error) const;

  bool may_be_made_by_kernel() const noexcept { return true; }
  detail::ring_operation operation() const noexcept;
  bool settle(int result, std::error_code& error) noexcept;
  void result() const noexcept {}
};
struct size_call {
  int fd;
  std::uint64_t operator()(std::error_code& error) const;
};
struct truncate_call {
  int fd;
  std::uint64_t size;
  void operator()(std::error_code& error) const;
};
struct close_call {
  file& closed;
  void operator()(std::error_code& error) const;
};
struct read_file_call {
  std::string path;
  std::string operator()(std::error_code& error) const;
};
struct write_file_call {
  std::string path;
  std::string_view data;
  void operator()(std::error_code& error) const;
};
struct stat_call {
  std::string path;
  file_info operator()(std::error_code& error) const;
};
struct list_call {
  std::string path;
  std::vector<directory_entry> operator()(std::error_code& error) const;
};
struct make_directory_call {
  std::string path;
  void operator()(std::error_code& error) const;
};
struct remove_call {
  std::string path;
  void operator()(std::error_code& error) const;
};
struct rename_call {
  std::string from, to;
  void operator()(std::error_code& error) const;
};

}  // namespace thrum::files
