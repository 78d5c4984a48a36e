// What happens to files and names, and who is told of it: the events of Linux, in its order.
//
// A file is told of after its directory, by the name that it has there, or had when it was removed: whoever has it open
// goes on. It is gone when it has no name and nobody holds it; if its name was the last thing, that is told before the
// name's removal is.
#include <algorithm>
#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <sys/inotify.h>

#include "sim/disks.hpp"

namespace thrum::sim {
namespace {

constexpr std::uint32_t watchable = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_MODIFY | IN_CLOSE_WRITE |
                                    IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF;

template <class Inode>
std::uint32_t directory_flag(const Inode& n) noexcept {
  return n.is_directory() ? IN_ISDIR : 0;
}

}  // namespace

std::shared_ptr<watcher> disks::make_watcher(host_id h, int owner) {
  return std::make_shared<watcher>(watchers_, h, owner);
}

int disks::watch(watcher& w, const char* path, std::uint32_t events) {
  if (events == 0 || (events & ~watchable) != 0) return errno = EINVAL, -1;
  const auto n = look_up(volume_of(w.host()), path);
  if (!n) return -1;
  if (!n->found) return errno = ENOENT, -1;
  return w.add(n->found->number, events);
}

disks::handle::handle(disks& d, node n, volume& v, int f)
    : of(d), file(std::move(n)), on(&v), power_cuts(v.power_cuts), flags(f) {
  ++file->held;
}

// What is there after a cut of power is held by others.
disks::handle::~handle() {
  if (power_cuts != on->power_cuts) return;
  if ((flags & O_ACCMODE) != O_RDONLY) of.tell_of(*file, IN_CLOSE_WRITE);
  --file->held;
  of.end_if_gone(*on, file);
}

void disks::place(inode& n, const inode& directory, const std::string& last) {
  n.parent = directory.number;
  n.last = last;
  n.is_linked = true;
}

void disks::add(volume& v, const name& n) {
  change_names(v, {{n.directory, n.last, n.found}});
  watchers_.tell(n.directory->number, IN_CREATE | directory_flag(*n.found), n.last);
}

// A file's number of names is an attribute of it.
void disks::take_away(volume& v, const name& n) {
  change_names(v, {{n.directory, n.last, nullptr}});
  if (!n.found->is_directory()) watchers_.tell(n.found->number, IN_ATTRIB);
  end_if_gone(v, n.found);
  watchers_.tell(n.directory->number, IN_DELETE | directory_flag(*n.found), n.last);
}

void disks::tell_of_move(volume& v, const name& from, const name& to) {
  const auto move = watchers_.next_move();
  watchers_.tell(from.directory->number, IN_MOVED_FROM | directory_flag(*from.found), from.last, move);
  watchers_.tell(to.directory->number, IN_MOVED_TO | directory_flag(*from.found), to.last, move);
  if (to.found) watchers_.tell(to.found->number, IN_ATTRIB | directory_flag(*to.found));
  watchers_.tell(from.found->number, IN_MOVE_SELF);
  if (to.found) end_if_gone(v, to.found);
}

void disks::tell_of(const inode& f, std::uint32_t what) {
  watchers_.tell(f.parent, what, f.last);
  watchers_.tell(f.number, what);
}

// What was removed from a directory and is not gone holds that, too: its name is said to be there.
void disks::end_if_gone(volume& v, const node& n) {
  if (n->is_linked) return;
  const auto known = std::ranges::find(v.nameless, n);
  if (n->held > 0 || std::ranges::find(v.nameless, n->number, &inode::parent) != v.nameless.end()) {
    if (known == v.nameless.end()) v.nameless.push_back(n);
    return;
  }
  const node gone = n;
  if (known != v.nameless.end()) v.nameless.erase(known);
  watchers_.end(gone->number, IN_DELETE_SELF);
  const auto above = std::ranges::find(v.nameless, gone->parent, &inode::number);
  if (above != v.nameless.end()) end_if_gone(v, node(*above));
}

}  // namespace thrum::sim
