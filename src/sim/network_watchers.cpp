// Watching files, by descriptors that the poller can wait for.
#include <cerrno>

#include <thrum/detail/touch.hpp>

#include "sim/allocations.hpp"
#include "sim/disks.hpp"
#include "sim/network.hpp"

namespace thrum::sim {

watcher* network::find_watcher(int fd) noexcept {
  auto* e = of(fd);
  if (!e || !e->changes) errno = e ? EINVAL : no_such(fd);
  return e ? e->changes.get() : nullptr;
}

int network::open_watcher() noexcept {
  const own_allocations unwatched;
  auto& e = add(0, 0, hosts_.of_caller());
  e.changes = disks_.make_watcher(e.host, e.id);
  return describe(e, e.id);
}

int network::add_watch(int fd, const char* path, unsigned events) noexcept {
  const own_allocations unwatched;
  auto* w = find_watcher(fd);
  return w ? disks_.watch(*w, path, events) : -1;
}

int network::remove_watch(int fd, int watch) noexcept {
  const own_allocations unwatched;
  auto* w = find_watcher(fd);
  if (!w) return -1;
  return w->remove(watch) ? 0 : fail(EINVAL);
}

long network::read_changes(int fd, std::span<std::byte> buffer) noexcept {
  auto* w = find_watcher(fd);
  if (!w) return -1;
  return is_interrupted() ? fail(EINTR) : w->read(buffer);
}

// Of the step that has just ended, which has used the network, then; or of what has been delivered, as of a file that
// was on its way to a socket that is gone.
void network::announce_changes() {
  for (const int id : disks_.take_told()) {
    detail::touch_in_time(static_cast<sched::socket_system*>(this));
    if (const auto* e = find(id)) post({.what = kind::look, .to = id, .along = from_to(*e)}, nullptr);
  }
}

}  // namespace thrum::sim
