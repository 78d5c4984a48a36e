// Inotify: a descriptor that is waited for as sockets are.
#include <thrum/file_watcher.hpp>

#include <cerrno>
#include <cstddef>
#include <span>
#include <utility>

#include <sys/inotify.h>
#include <unistd.h>

#include <thrum/cancelled.hpp>

#include "file/file_events.hpp"
#include "file/kernel.hpp"
#include "file/offload.hpp"
#include "net/socket_operation.hpp"
#include "net/system_calls.hpp"
#include "os/errno.hpp"

namespace thrum {
namespace {

constexpr std::uint32_t always_watched =
    IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_CLOSE_WRITE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF;
constexpr std::size_t buffer_size = 8192;  // The longest event takes less than 300 bytes.

// Where files meet the system, for what is told of them. Null: the kernel.
sched::socket_system* own() noexcept {
  (void)files::kernel::own();  // A simulation's files are touched, too.
  return net::system::own();
}

int open_watcher() noexcept {
  if (auto* s = own()) return s->open_watcher();
  return ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
}
int add_watch(int fd, const char* path, std::uint32_t events) noexcept {
  if (auto* s = own()) return s->add_watch(fd, path, events);
  return ::inotify_add_watch(fd, path, events);
}
int remove_watch(int fd, int number) noexcept {
  if (auto* s = own()) return s->remove_watch(fd, number);
  return ::inotify_rm_watch(fd, number);
}
long read_changes(int fd, std::span<std::byte> buffer) noexcept {
  if (auto* s = own()) return s->read_changes(fd, buffer);
  return ::read(fd, buffer.data(), buffer.size());
}

}  // namespace

// Named: what a coroutine's frame holds must have linkage.
namespace files {

struct watch_call {
  int fd;
  std::string path;
  bool each_write;
  int operator()(std::error_code& error) const {
    const int n = add_watch(fd, path.c_str(), always_watched | (each_write ? IN_MODIFY : 0));
    if (n < 0) error.assign(os::error_number(), std::generic_category());
    return n;
  }
};

struct read_events_call {
  std::span<std::byte> buffer;
  long operator()(int fd) const noexcept { return read_changes(fd, buffer); }
};

}  // namespace files

file_watcher file_watcher::open(std::error_code& error) noexcept {
  error.clear();
  const int fd = open_watcher();
  if (fd < 0) error.assign(os::error_number(), std::generic_category());
  return file_watcher(fd);
}

file_watcher file_watcher::open() {
  std::error_code error;
  auto w = open(error);
  if (error) throw std::system_error(error, "thrum: cannot watch files");
  return w;
}

int file_watcher::watch(std::string path, bool each_write, std::error_code& error) {
  const int n = files::report(error, files::watch_call{native_handle(), std::move(path), each_write});
  return error ? -1 : n;
}
int file_watcher::watch(std::string path, bool each_write) {
  return files::demand("thrum: watch", files::watch_call{native_handle(), std::move(path), each_write});
}
task<int> file_watcher::async_watch(std::string path, bool each_write, std::error_code& error) {
  auto call = files::async_report(error, files::watch_call{native_handle(), std::move(path), each_write});
  const int n = co_await std::move(call);
  co_return error ? -1 : n;
}
task<int> file_watcher::async_watch(std::string path, bool each_write) {
  return files::async_demand("thrum: watch", files::watch_call{native_handle(), std::move(path), each_write});
}

void file_watcher::unwatch(int number) {
  if (remove_watch(native_handle(), number) != 0)
    throw std::system_error(os::error_number(), std::generic_category(), "thrum: unwatch");
}

std::vector<file_event> file_watcher::receive(std::error_code& error) {
  std::vector<std::byte> buffer(buffer_size);
  std::vector<file_event> events;
  while (events.empty()) {
    const long n = perform(direction::reading, error, files::read_events_call{buffer});
    if (n < 0) break;
    events = files::parse_events(std::span(buffer).first(static_cast<std::size_t>(n)));
  }
  return events;
}

std::vector<file_event> file_watcher::receive() {
  std::error_code error;
  auto events = receive(error);
  if (error) raise(error, "thrum: receive from a file_watcher");
  return events;
}

task<std::vector<file_event>> file_watcher::async_receive(std::error_code& error) {
  std::vector<std::byte> buffer(buffer_size);
  std::vector<file_event> events;
  while (events.empty()) {
    const long n = co_await async_perform(direction::reading, error, files::read_events_call{buffer});
    if (n < 0) break;
    events = files::parse_events(std::span(buffer).first(static_cast<std::size_t>(n)));
  }
  co_return events;
}

task<std::vector<file_event>> file_watcher::async_receive() {
  std::error_code error;
  auto receiving = async_receive(error);
  auto events = co_await std::move(receiving);
  if (error) raise(error, "thrum: receive from a file_watcher");
  co_return events;
}

}  // namespace thrum
