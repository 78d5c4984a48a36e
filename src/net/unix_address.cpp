// The kernel's form of a name, and the files. Binding and removing touch the file system, as briefly as open(2) does.
#include "net/unix_address.hpp"

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <thrum/detail/touch.hpp>

#include "net/socket_errors.hpp"
#include "net/system_calls.hpp"
#include "os/errno.hpp"
#include "sched/file_system.hpp"
#include "sched/scheduler.hpp"

namespace thrum::net {
namespace {

constexpr std::size_t path_at = offsetof(sockaddr_un, sun_path);
constexpr std::size_t longest_name = sizeof(sockaddr_un::sun_path) - 1;

bool is_abstract(std::string_view name) noexcept { return name.starts_with('@'); }

std::errc check_name(std::string_view name) noexcept {
  const bool is_path = !is_abstract(name);
  if (name.empty() || (is_path && name.find('\0') != std::string_view::npos)) return std::errc::invalid_argument;
  return name.size() > longest_name ? std::errc::filename_too_long : std::errc{};
}

std::string unix_name_of(int fd, int (*get)(int, sockaddr*, socklen_t*)) {
  address a;
  a.length = sizeof a.storage;
  if (get(fd, reinterpret_cast<sockaddr*>(&a.storage), &a.length) != 0) return {};
  return unix_name(a);
}

// Null: the kernel's.
sched::file_system* own_files() noexcept {
  auto* w = sched::this_worker();
  auto* files = w ? w->home.files() : nullptr;
  if (files) detail::touch_in_time(files);
  return files;
}

bool describe_file(const std::string& path, struct stat& s) noexcept {
  auto* files = own_files();
  return (files ? files->describe(path.c_str(), s) : ::lstat(path.c_str(), &s)) == 0;
}

// If it is still that one.
void remove_socket_file(const std::string& path, std::uint64_t device, std::uint64_t inode) noexcept {
  if (auto* files = own_files()) return files->remove_socket(path.c_str(), inode);
  struct stat now;
  if (describe_file(path, now) && now.st_dev == device && now.st_ino == inode) ::unlink(path.c_str());
}

// Whether connecting is refused: the file of a socket that is gone.
bool is_abandoned(const address& a, int type) noexcept {
  std::error_code error;
  const int probe = open_unix_socket(type, error);
  if (error) return false;
  const bool refused = system::connect(probe, a.get(), a.length) != 0 && os::error_number() == ECONNREFUSED;
  system::close(probe);
  return refused;
}

void remove_stale(const std::string& path, const address& a, int type) noexcept {
  struct stat before;
  if (!describe_file(path, before) || !S_ISSOCK(before.st_mode) || !is_abandoned(a, type)) return;
  remove_socket_file(path, before.st_dev, before.st_ino);
}

}  // namespace

address parse_unix_address(std::string_view name, std::error_code& error) {
  address a;
  error.clear();
  if (const auto wrong = check_name(name); wrong != std::errc{}) {
    error = std::make_error_code(wrong);
    return a;
  }
  sockaddr_un as_unix{};
  as_unix.sun_family = AF_UNIX;
  std::memcpy(as_unix.sun_path, name.data(), name.size());
  if (is_abstract(name)) as_unix.sun_path[0] = '\0';
  std::memcpy(&a.storage, &as_unix, sizeof as_unix);
  // A path ends with a null character, an abstract name with the address.
  a.length = static_cast<socklen_t>(path_at + name.size() + (is_abstract(name) ? 0 : 1));
  return a;
}

std::string unix_name(const address& a) {
  if (a.family() != AF_UNIX || a.length <= path_at) return {};
  const auto* path = reinterpret_cast<const char*>(&a.storage) + path_at;
  const std::size_t size = a.length - path_at;
  if (path[0] == '\0') return "@" + std::string(path + 1, size - 1);
  return std::string(path, ::strnlen(path, size));
}

std::string local_unix_name_of(int fd) { return unix_name_of(fd, &system::local_name); }
std::string remote_unix_name_of(int fd) { return unix_name_of(fd, &system::peer_name); }

int open_unix_socket(int type, std::error_code& error) noexcept {
  const int fd = system::open(AF_UNIX, type);
  if (fd < 0) error = last_error();
  return fd;
}

socket_file bind_unix_socket(int fd, std::string_view name, int type, bool replace_stale, std::error_code& error) {
  const auto a = parse_unix_address(name, error);
  if (error) return {};
  std::string path(is_abstract(name) ? std::string_view() : name);
  if (replace_stale && !path.empty()) remove_stale(path, a, type);
  if (system::bind(fd, a.get(), a.length) != 0) {
    error = last_error();
    return {};
  }
  return path.empty() ? socket_file() : socket_file(std::move(path));
}

// ---------------------------------------------------------------------------------------------------------------

socket_file::socket_file(std::string path) : path_(std::move(path)) {
  struct stat s;
  if (!describe_file(path_, s)) {
    path_.clear();
    return;
  }
  device_ = s.st_dev;
  inode_ = s.st_ino;
}

void socket_file::remove() noexcept {
  if (!path_.empty()) remove_socket_file(path_, device_, inode_);
  path_.clear();
}

}  // namespace thrum::net
