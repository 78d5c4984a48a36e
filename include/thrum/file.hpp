// Files that block no worker: what may have to wait for the disk is offloaded (blocking.hpp). Reads of up to 256 KiB
// look into the page cache first, and need no other thread for what is there. Reads and writes at an offset and syncs
// go through io_uring where the kernel allows it: one thread brings them there, however many are under way.
//
//   auto f = thrum::file::open("journal", {.write = true, .append = true, .create = true});
//   f.write_all(std::as_bytes(std::span(line)));
//   f.data_sync();
//   std::string all = thrum::read_file("/etc/hostname");
//
// The calls suspend the calling fiber, block a plain thread, and have twins async_x() for tasks, to be used with
// <thrum/task.hpp>. They are cancellation points until they have begun: cancelled before, they did not happen. One
// that has begun runs to its end, all of a write_all() too, and reports how it ended. Buffers must outlive the call.
// Errors throw std::system_error; the overloads with an error_code report them there, cancellation included
// (errc::operation_canceled). Calls that make strings or vectors may throw std::bad_alloc besides. What needs a thread
// of the pool and gets none reports errc::resource_unavailable_try_again.
//
// Meant for regular files and directories. To read a FIFO or a terminal works, but occupies a thread of the pool until
// there is something to read, which cancellation does not interrupt. Sockets are thrum/net's.
//
// The environment variable THRUM_FILE_ENGINE=pool has all calls made by the pool, without io_uring; file_engine() says
// what is the case. Both make no difference to programs but in speed.
//
// Changes are watched for by <thrum/file_watcher.hpp>. Not there: buffering, locks, memory maps.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace thrum {

template <class T>
class task;

struct open_options {
  bool read = false;
  bool write = false;
  bool append = false;          // Every write goes to the end, write_at() too.
  bool create = false;          // If it is not there.
  bool exclusive = false;       // With create: errc::file_exists if it is there.
  bool truncate = false;        // To size 0.
  unsigned permissions = 0666;  // Of a new file, less the process's umask.
};

// An open file. Several fibers, tasks and threads may use one at a time, also for the same call; those without an
// offset share the file's position. Movable while no call is under way. Descriptors are closed on exec.
class file {
 public:
  file() noexcept = default;
  file(file&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  file& operator=(file&& other) noexcept {
    file moved(std::move(other));
    std::swap(fd_, moved.fd_);
    return *this;
  }
  // Closes it, on the calling thread and without a word about errors: close() is for those who want to know.
  ~file();

  // Throws std::system_error with errc::invalid_argument unless it is to be read or written.
  static file open(std::string path, const open_options& options = {.read = true});
  static file open(std::string path, const open_options& options, std::error_code& error);
  static task<file> async_open(std::string path, open_options options = {.read = true});
  static task<file> async_open(std::string path, open_options options, std::error_code& error);

  // Takes over a descriptor.
  static file adopt(int fd) noexcept { return file(fd); }

  bool is_open() const noexcept { return fd_ >= 0; }
  int native_handle() const noexcept { return fd_; }         // Stays owned.
  int release() noexcept { return std::exchange(fd_, -1); }  // No longer owned.

  // --- At the file's position, which they move.
  // At least one byte, or 0 at the end of the file (or when the buffer is empty).
  std::size_t read_some(std::span<std::byte> buffer);
  std::size_t read_some(std::span<std::byte> buffer, std::error_code& error);
  task<std::size_t> async_read_some(std::span<std::byte> buffer);
  task<std::size_t> async_read_some(std::span<std::byte> buffer, std::error_code& error);
  // All of the buffer, or as much as there is up to the end of the file: returns how much.
  std::size_t read_all(std::span<std::byte> buffer);
  std::size_t read_all(std::span<std::byte> buffer, std::error_code& error);
  task<std::size_t> async_read_all(std::span<std::byte> buffer);
  task<std::size_t> async_read_all(std::span<std::byte> buffer, std::error_code& error);
  // All of the data; returns how much was written, which is less only with an error (errc::no_space_on_device, say).
  std::size_t write_all(std::span<const std::byte> data);
  std::size_t write_all(std::span<const std::byte> data, std::error_code& error);
  task<std::size_t> async_write_all(std::span<const std::byte> data);
  task<std::size_t> async_write_all(std::span<const std::byte> data, std::error_code& error);
  // Moves the position to so many bytes from the start. Does not suspend. Throws std::system_error.
  void seek(std::uint64_t offset);
  std::uint64_t position() const;

  // --- At an offset from the start, in bytes, without regard to the position: as read_all() and write_all().
  std::size_t read_at(std::uint64_t offset, std::span<std::byte> buffer);
  std::size_t read_at(std::uint64_t offset, std::span<std::byte> buffer, std::error_code& error);
  task<std::size_t> async_read_at(std::uint64_t offset, std::span<std::byte> buffer);
  task<std::size_t> async_read_at(std::uint64_t offset, std::span<std::byte> buffer, std::error_code& error);
  std::size_t write_at(std::uint64_t offset, std::span<const std::byte> data);
  std::size_t write_at(std::uint64_t offset, std::span<const std::byte> data, std::error_code& error);
  task<std::size_t> async_write_at(std::uint64_t offset, std::span<const std::byte> data);
  task<std::size_t> async_write_at(std::uint64_t offset, std::span<const std::byte> data, std::error_code& error);

  // What has been written is on the device when they return (fsync; fdatasync, which leaves out times and the like).
  void sync();
  void sync(std::error_code& error);
  task<void> async_sync();
  task<void> async_sync(std::error_code& error);
  void data_sync();
  void data_sync(std::error_code& error);
  task<void> async_data_sync();
  task<void> async_data_sync(std::error_code& error);

  // Bytes. truncate() also makes a file longer, with zeros.
  std::uint64_t size();
  std::uint64_t size(std::error_code& error);
  task<std::uint64_t> async_size();
  task<std::uint64_t> async_size(std::error_code& error);
  void truncate(std::uint64_t size);
  void truncate(std::uint64_t size, std::error_code& error);
  task<void> async_truncate(std::uint64_t size);
  task<void> async_truncate(std::uint64_t size, std::error_code& error);

  // Afterwards it is closed, errors (of delayed writes, on some file systems) or not; it stays open only when
  // cancelled.
  void close();
  void close(std::error_code& error);
  task<void> async_close();
  task<void> async_close(std::error_code& error);

 private:
  explicit file(int fd) noexcept : fd_(fd) {}

  int fd_ = -1;
};

// What makes the calls at an offset and syncs, for the process: decided by the first of them. Does not suspend; any
// thread.
struct file_engine_choice {
  bool is_io_uring;    // False: the pool of blocking().
  const char* reason;  // In a few words; lives for ever.
};
file_engine_choice file_engine() noexcept;

// All of it; of files whose size is not known, like those in /proc, too.
std::string read_file(std::string path);
std::string read_file(std::string path, std::error_code& error);
task<std::string> async_read_file(std::string path);
task<std::string> async_read_file(std::string path, std::error_code& error);

// Creates the file or replaces what is in it; in a file that others read, or after an error, they may see a part. The
// data must outlive the call.
void write_file(std::string path, std::string_view data);
void write_file(std::string path, std::string_view data, std::error_code& error);
task<void> async_write_file(std::string path, std::string_view data);
task<void> async_write_file(std::string path, std::string_view data, std::error_code& error);

enum class file_kind : std::uint8_t { regular, directory, link, other, unknown };

struct file_info {
  file_kind kind = file_kind::unknown;
  unsigned permissions = 0;  // The lower 12 bits of st_mode.
  std::uint64_t size = 0;    // Bytes.
  std::chrono::system_clock::time_point modified = {};
};
// Of what symbolic links lead to.
file_info stat_file(std::string path);
file_info stat_file(std::string path, std::error_code& error);
task<file_info> async_stat_file(std::string path);
task<file_info> async_stat_file(std::string path, std::error_code& error);

struct directory_entry {
  std::string name;
  file_kind kind = file_kind::unknown;  // Of the entry itself; some file systems do not tell.
};
// In no order; without "." and "..".
std::vector<directory_entry> list_directory(std::string path);
std::vector<directory_entry> list_directory(std::string path, std::error_code& error);
task<std::vector<directory_entry>> async_list_directory(std::string path);
task<std::vector<directory_entry>> async_list_directory(std::string path, std::error_code& error);

// Errors as of mkdir(2); its parent must be there.
void make_directory(std::string path);
void make_directory(std::string path, std::error_code& error);
task<void> async_make_directory(std::string path);
task<void> async_make_directory(std::string path, std::error_code& error);

// A file or an empty directory.
void remove_file(std::string path);
void remove_file(std::string path, std::error_code& error);
task<void> async_remove_file(std::string path);
task<void> async_remove_file(std::string path, std::error_code& error);

// Within a file system; replaces what has the new name.
void rename_file(std::string from, std::string to);
void rename_file(std::string from, std::string to, std::error_code& error);
task<void> async_rename_file(std::string from, std::string to);
task<void> async_rename_file(std::string from, std::string to, std::error_code& error);

}  // namespace thrum
