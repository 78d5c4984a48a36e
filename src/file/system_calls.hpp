// The system calls about files, whole: interrupted ones repeated, short ones continued. They block, and so are run by
// the pool. Each is an object with its arguments, as it must be kept until a thread runs it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <thrum/file.hpp>

namespace thrum::files {

// operator() sets `error` when it fails, and leaves it alone otherwise.
struct open_call {
  std::string path;
  open_options options;
  file operator()(std::error_code& error) const;
};
struct read_call {
  int fd;
  std::span<std::byte> buffer;
  bool all;  // Goes on until the buffer is full.
  std::size_t operator()(std::error_code& error) const;
};
struct write_call {
  int fd;
  std::span<const std::byte> data;
  std::size_t operator()(std::error_code& error) const;
};
struct read_at_call {
  int fd;
  std::uint64_t offset;
  std::span<std::byte> buffer;
  std::size_t operator()(std::error_code& error) const;
};
struct write_at_call {
  int fd;
  std::uint64_t offset;
  std::span<const std::byte> data;
  std::size_t operator()(std::error_code& error) const;
};
struct sync_call {
  int fd;
  bool data_only;
  void operator()(std::error_code& error) const;
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
