// See the header. Offsets beyond what the kernel's signed 64 bits hold are its to refuse (EINVAL).
#include "file/system_calls.hpp"

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <utility>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "file/kernel.hpp"
#include "os/errno.hpp"

namespace thrum::files {
namespace {

// Of this much the copy alone takes some tens of microseconds, for which the worker does nothing else.
constexpr std::size_t at_once_max = 256 * 1024;

void fail(std::error_code& error) noexcept { error.assign(os::error_number(), std::generic_category()); }

// The value of a call that is made again when a signal interrupts it; -1, and `error`, when it fails.
template <class Call>
long complete(std::error_code& error, Call call) {
  for (;;) {
    const long n = call();
    if (n >= 0) return n;
    if (os::error_number() != EINTR) {
      fail(error);
      return -1;
    }
  }
}

// some(done) transfers a part, of what is left after `done` bytes; 0 is the end.
template <class Some>
std::size_t transfer(std::size_t done, std::size_t size, std::error_code& error, Some some) {
  while (done < size) {
    const long n = complete(error, [&] { return some(done); });
    if (n <= 0) break;
    done += static_cast<std::size_t>(n);
  }
  return done;
}

int flags_of(const open_options& o) noexcept {
  int flags = O_CLOEXEC | O_NOCTTY;
  const bool writes = o.write || o.append;
  flags |= writes ? (o.read ? O_RDWR : O_WRONLY) : O_RDONLY;
  if (o.append) flags |= O_APPEND;
  if (o.create) flags |= O_CREAT;
  if (o.exclusive) flags |= O_EXCL;
  if (o.truncate) flags |= O_TRUNC;
  return flags;
}

// O_EXCL without O_CREAT is undefined, O_TRUNC of a file that is read only unspecified.
bool is_sane(const open_options& o) noexcept {
  const bool writes = o.write || o.append;
  return (o.read || writes) && (!o.exclusive || o.create) && (!o.truncate || writes);
}

place beyond(place at, std::size_t bytes) noexcept { return at ? place(*at + bytes) : at; }

// An operation of the ring is a system call: an interrupted one is to be made again. True: there is no more to it.
bool has_failed(int result, std::error_code& error) noexcept {
  if (result >= 0 || result == -EINTR) return false;
  error.assign(-result, std::generic_category());
  return true;
}

// A ring makes no calls at a file's position (call_ring.hpp), takes an offset of 64 bits for that, and pays none any
// heed where there are no offsets: pread(2) fails there, and so must we.
bool is_for_a_ring(int fd, place at) noexcept {
  return at && *at <= INT64_MAX && !kernel::own() && ::lseek(fd, 0, SEEK_CUR) >= 0;
}

struct directory_closer {
  void operator()(DIR* d) const noexcept { ::closedir(d); }
};

}  // namespace

file_kind kind_of_mode(unsigned mode) noexcept {
  switch (mode & S_IFMT) {
    case S_IFREG:
      return file_kind::regular;
    case S_IFDIR:
      return file_kind::directory;
    case S_IFLNK:
      return file_kind::link;
    default:
      return file_kind::other;
  }
}

file_kind kind_of_entry(const dirent& e) noexcept {
  return e.d_type == DT_UNKNOWN ? file_kind::unknown : kind_of_mode(DTTOIF(e.d_type));
}

file open_call::operator()(std::error_code& error) const {
  if (!is_sane(options)) {
    error = std::make_error_code(std::errc::invalid_argument);
    return {};
  }
  const long fd = complete(error, [&] { return kernel::open(path.c_str(), flags_of(options), options.permissions); });
  return file::adopt(static_cast<int>(fd));
}

// RWF_NOWAIT: what is not in the page cache is EAGAIN, and EOPNOTSUPP where the file system or the kind of file does
// not know it. Linux 5.9 and 5.10 may return 0 before the end, so 0 is not believed.
std::optional<std::size_t> read_call::at_once() noexcept {
  if (buffer.empty() || buffer.size() > at_once_max || (at && *at > INT64_MAX) || kernel::own()) return {};
  const iovec room{buffer.data(), buffer.size()};
  const auto n = ::preadv2(fd, &room, 1, at ? static_cast<off_t>(*at) : -1, RWF_NOWAIT);
  if (n <= 0) return {};
  done = static_cast<std::size_t>(n);
  if (all && done < buffer.size()) return {};
  return done;
}

std::size_t read_call::operator()(std::error_code& error) const {
  const auto some = [this](std::size_t from) { return kernel::read(fd, buffer.subspan(from), beyond(at, from)); };
  if (all) return transfer(done, buffer.size(), error, some);
  const long n = complete(error, [&] { return some(0); });
  return n < 0 ? 0 : static_cast<std::size_t>(n);
}

std::size_t write_call::operator()(std::error_code& error) const {
  return transfer(0, data.size(), error,
                  [this](std::size_t from) { return kernel::write(fd, data.subspan(from), beyond(at, from)); });
}

bool read_call::may_be_made_by_kernel() const noexcept { return done < buffer.size() && is_for_a_ring(fd, at); }

detail::ring_operation read_call::operation() const noexcept {
  const auto left = buffer.subspan(done);
  return {detail::ring_operation::kind::read, fd, left.data(), left.size(), at.value_or(0) + done};
}

bool read_call::settle(int result, std::error_code& error) noexcept {
  if (has_failed(result, error) || result == 0) return false;
  if (result > 0) done += static_cast<std::size_t>(result);
  return done < buffer.size() && (all || done == 0);
}

bool write_call::may_be_made_by_kernel() const noexcept { return !data.empty() && is_for_a_ring(fd, at); }

detail::ring_operation write_call::operation() const noexcept {
  const auto left = data.subspan(done);
  return {detail::ring_operation::kind::write, fd, const_cast<std::byte*>(left.data()), left.size(),
          at.value_or(0) + done};
}

bool write_call::settle(int result, std::error_code& error) noexcept {
  if (has_failed(result, error) || result == 0) return false;
  if (result > 0) done += static_cast<std::size_t>(result);
  return done < data.size();
}

void sync_call::operator()(std::error_code& error) const {
  complete(error, [&] { return kernel::sync(fd, data_only); });
}

detail::ring_operation sync_call::operation() const noexcept {
  using kind = detail::ring_operation::kind;
  return {.what = data_only ? kind::data_sync : kind::sync, .fd = fd};
}

bool sync_call::settle(int result, std::error_code& error) noexcept {
  return !has_failed(result, error) && result == -EINTR;
}

std::uint64_t size_call::operator()(std::error_code& error) const {
  struct stat s {};
  if (kernel::describe(fd, s) != 0) fail(error);
  return static_cast<std::uint64_t>(s.st_size);
}

void truncate_call::operator()(std::error_code& error) const {
  complete(error, [&] { return kernel::truncate(fd, size); });
}

// Never twice: whatever close() says, Linux has released the descriptor.
void close_call::operator()(std::error_code& error) const {
  if (kernel::close(closed.release()) != 0 && os::error_number() != EINTR) fail(error);
}

std::string read_file_call::operator()(std::error_code& error) const {
  std::string all;
  const file f = open_call{path, {.read = true}}(error);
  if (error) return all;
  // One byte more than it seems to have: a full read then finds the end at once.
  const auto size = size_call{f.native_handle()}(error);
  std::size_t done = 0;
  while (!error) {
    if (done == all.size()) all.resize(done == 0 ? size + 1 : 2 * done + 4096);
    const auto room = std::as_writable_bytes(std::span(all)).subspan(done);
    const auto n = read_call{f.native_handle(), {}, room, false}(error);
    if (n == 0) break;
    done += n;
  }
  all.resize(error ? 0 : done);
  return all;
}

void write_file_call::operator()(std::error_code& error) const {
  file f = open_call{path, {.write = true, .create = true, .truncate = true}}(error);
  if (error) return;
  write_call{f.native_handle(), {}, std::as_bytes(std::span(data))}(error);
  if (!error) close_call{f}(error);
}

file_info stat_call::operator()(std::error_code& error) const {
  struct stat s {};
  if (kernel::describe(path.c_str(), s) != 0) {
    fail(error);
    return {};
  }
  const auto since = std::chrono::seconds(s.st_mtim.tv_sec) + std::chrono::nanoseconds(s.st_mtim.tv_nsec);
  return {.kind = kind_of_mode(s.st_mode),
          .permissions = s.st_mode & 07777u,
          .size = static_cast<std::uint64_t>(s.st_size),
          .modified = std::chrono::system_clock::time_point(
              std::chrono::duration_cast<std::chrono::system_clock::duration>(since))};
}

std::vector<directory_entry> list_call::operator()(std::error_code& error) const {
  std::vector<directory_entry> all;
  if (auto* s = kernel::own()) {
    std::vector<sched::file_system::entry> found;
    if (s->list(path.c_str(), found) != 0) fail(error);
    for (auto& [name, mode] : found) all.push_back({std::move(name), kind_of_mode(mode)});
    return all;
  }
  const std::unique_ptr<DIR, directory_closer> d(::opendir(path.c_str()));
  if (!d) {
    fail(error);
    return all;
  }
  for (;;) {
    errno = 0;  // readdir() tells the end from a failure by it.
    const dirent* e = ::readdir(d.get());
    if (!e) break;
    const std::string_view name = e->d_name;
    if (name != "." && name != "..") all.push_back({std::string(name), kind_of_entry(*e)});
  }
  if (os::error_number() != 0) fail(error);
  return all;
}

void make_directory_call::operator()(std::error_code& error) const {
  if (kernel::make_directory(path.c_str()) != 0) fail(error);
}

void remove_call::operator()(std::error_code& error) const {
  if (kernel::remove(path.c_str()) != 0) fail(error);
}

void rename_call::operator()(std::error_code& error) const {
  if (kernel::rename(from.c_str(), to.c_str()) != 0) fail(error);
}

}  // namespace thrum::files
