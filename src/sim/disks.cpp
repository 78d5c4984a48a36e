// What calls on files do to a simulated disk, and what a cut of power leaves of it.
#include "sim/disks.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <utility>

#include <fcntl.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <thrum/detail/touch.hpp>

#include "sched/scheduler.hpp"
#include "sim/allocations.hpp"
#include "sim/chooser.hpp"
#include "sim/numbers.hpp"

namespace thrum::sim {
namespace {

constexpr std::uint64_t sector = 512;
constexpr std::uint32_t one_in_short_transfers = 8;
constexpr unsigned nobody_elses = 022;  // The umask.

int refuse(int error) noexcept {
  errno = error;
  return -1;
}

// What is not open here is the kernel's, which the program has adopted, or nobody's.
int no_such_file(int fd) noexcept { return is_kernels(fd) ? EOPNOTSUPP : EBADF; }

bool may_read(int flags) noexcept { return (flags & O_ACCMODE) != O_WRONLY; }
bool may_write(int flags) noexcept { return (flags & O_ACCMODE) != O_RDONLY; }

template <class Inode>
std::uint64_t bytes_below(const Inode& n) noexcept {
  std::uint64_t sum = n.seen.size();
  for (const auto& [name, child] : n.entries) sum += bytes_below(*child);
  return sum;
}

void put(std::string& bytes, std::uint64_t offset, std::string_view piece) {
  if (bytes.size() < offset + piece.size()) bytes.resize(offset + piece.size());
  std::memcpy(bytes.data() + offset, piece.data(), piece.size());
}

template <class Change>
void change_bytes(std::string& bytes, const Change& c) {
  if (c.cuts)
    bytes.resize(c.offset);
  else
    put(bytes, c.offset, c.bytes);
}

}  // namespace

disks::disks(const options& o, sched::clock_source& clock, hosts& h)
    : options_(o), clock_(clock), hosts_(h), rng_(make_rng(o.seed, 6)), next_number_(first_file_number) {}

disks::volume& disks::volume_of(host_id h) {
  auto& v = volumes_[h];
  if (v) return *v;
  v = std::make_unique<volume>();
  v->root = make_node(S_IFDIR | 0755);
  v->root->entries["tmp"] = v->root->synced_entries["tmp"] = make_node(S_IFDIR | 0755);
  place(*v->root->entries["tmp"], *v->root, "tmp");
  return *v;
}

disks::node disks::make_node(unsigned mode) {
  auto made = std::make_shared<inode>();
  made->number = ++last_inode_;
  made->mode = mode;
  made->modified_at = clock_.now_ns();
  return made;
}

void disks::set(std::string_view host, const disk& d) {
  const own_allocations unwatched;
  volume_of(hosts_.named(host)).as = d;
}

// ---------------------------------------------------------------------------------------------------------------
// Names.

// Nothing, and errno, when a directory on the way is missing or is none.
std::optional<disks::name> disks::look_up(volume& v, std::string_view path) {
  std::vector<node> way{v.root};
  name n{v.root, {}, v.root};
  if (path.empty()) return errno = ENOENT, std::nullopt;
  while (!path.empty()) {
    const auto end = std::min(path.find('/'), path.size());
    const auto part = path.substr(0, end);
    path.remove_prefix(std::min(end + 1, path.size()));
    if (part.empty() || part == ".") continue;
    if (!n.found || !n.found->is_directory()) return errno = n.found ? ENOTDIR : ENOENT, std::nullopt;
    if (part == "..") {
      if (way.size() > 1) way.pop_back();
      n = {way.back(), {}, way.back()};
      continue;
    }
    const auto child = n.found->entries.find(part);
    n = {n.found, std::string(part), child == n.found->entries.end() ? nullptr : child->second};
    way.push_back(n.found);
  }
  return n;
}

void disks::change_names(volume& v, std::vector<renaming> step) {
  for (const auto& r : step) {
    if (const auto before = r.directory->entries.extract(r.last)) before.mapped()->is_linked = false;
    if (!r.now) continue;
    r.directory->entries[r.last] = r.now;
    place(*r.now, *r.directory, r.last);
  }
  v.journal.push_back(std::move(step));
}

void disks::commit(volume& v, std::size_t steps) {
  const auto end = v.journal.begin() + static_cast<std::ptrdiff_t>(steps);
  for (auto step = v.journal.begin(); step != end; ++step)
    for (const auto& r : *step) {
      if (r.now)
        r.directory->synced_entries[r.last] = r.now;
      else
        r.directory->synced_entries.erase(r.last);
    }
  v.journal.erase(v.journal.begin(), end);
}

int disks::make_directory(const char* path, unsigned mode) noexcept {
  const own_allocations unwatched;
  auto& v = here();
  auto n = look_up(v, path);
  if (!n) return -1;
  if (n->found) return refuse(EEXIST);
  n->found = make_node(S_IFDIR | (mode & ~nobody_elses));
  add(v, *n);
  return 0;
}

int disks::remove(const char* path) noexcept {
  const own_allocations unwatched;
  auto& v = here();
  const auto n = look_up(v, path);
  if (!n) return -1;
  if (!n->found) return refuse(ENOENT);
  if (n->last.empty()) return refuse(EBUSY);  // The root, or a path that ends in "..".
  if (!n->found->entries.empty()) return refuse(ENOTEMPTY);
  take_away(v, *n);
  return 0;
}

// Whoever closes it may be on another host than the file.
void disks::remove_socket(const char* path, std::uint64_t inode) noexcept {
  const own_allocations unwatched;
  for (auto& [host, v] : volumes_) {
    const auto n = look_up(*v, path);
    if (n && n->found && n->found->number == inode) return take_away(*v, *n);
  }
}

// The network comes here by itself, and not through the program's calls on files.
void disks::touch() noexcept { detail::touch_in_time(static_cast<sched::file_system*>(this)); }

int disks::make_socket(host_id h, std::string_view path, int socket, std::shared_ptr<const void>& held) {
  touch();
  auto& v = volume_of(h);
  auto n = look_up(v, path);
  if (!n) return errno;
  if (n->found) return EADDRINUSE;
  n->found = make_node(S_IFSOCK | (0777 & ~nobody_elses));
  n->found->socket = socket;
  add(v, *n);
  held = std::make_shared<const handle>(*this, n->found, v, O_RDONLY);
  return 0;
}

int disks::socket_at(host_id h, std::string_view path) {
  touch();
  const auto n = look_up(volume_of(h), path);
  if (!n) return -1;
  if (!n->found) return refuse(ENOENT);
  return S_ISSOCK(n->found->mode) ? n->found->socket : refuse(ECONNREFUSED);
}

int disks::rename(const char* from, const char* to) noexcept {
  const own_allocations unwatched;
  auto& v = here();
  const auto a = look_up(v, from);
  if (!a) return -1;
  const auto b = look_up(v, to);
  if (!b) return -1;
  if (!a->found) return refuse(ENOENT);
  if (a->last.empty() || b->last.empty()) return refuse(EBUSY);
  if (a->found == b->found) return 0;
  if (b->found) {
    if (a->found->is_directory() && !b->found->is_directory()) return refuse(ENOTDIR);
    if (!a->found->is_directory() && b->found->is_directory()) return refuse(EISDIR);
    if (!b->found->entries.empty()) return refuse(ENOTEMPTY);
  }
  const std::string_view inside = to, outside = from;
  if (a->found->is_directory() && inside.starts_with(outside) && inside[outside.size()] == '/') return refuse(EINVAL);
  change_names(v, {{a->directory, a->last, nullptr}, {b->directory, b->last, a->found}});
  tell_of_move(v, *a, *b);
  return 0;
}

int disks::list(const char* path, std::vector<entry>& out) {
  const own_allocations unwatched;
  const auto n = look_up(here(), path);
  if (!n) return -1;
  if (!n->found) return refuse(ENOENT);
  if (!n->found->is_directory()) return refuse(ENOTDIR);
  for (const auto& [last, child] : n->found->entries) out.emplace_back(last, child->mode);
  return 0;
}

// ---------------------------------------------------------------------------------------------------------------
// Files.

disks::handle* disks::find(int fd) noexcept {
  const auto at = handles_.find(fd);
  if (at == handles_.end()) {
    errno = no_such_file(fd);
    return nullptr;
  }
  auto& h = *at->second;
  if (h.power_cuts == h.on->power_cuts) return &h;
  errno = EIO;
  return nullptr;
}

bool disks::is_interrupted() noexcept {
  if (!chance(options_.one_in_interrupted)) return false;
  errno = EINTR;
  return true;
}

bool disks::fails(const handle& h) noexcept {
  if (!chance(h.on->as.one_in_errors)) return false;
  errno = EIO;
  return true;
}

void disks::record(inode& f, change c) {
  change_bytes(f.seen, c);
  f.unsynced.push_back(std::move(c));
  f.modified_at = clock_.now_ns();
  tell_of(f, IN_MODIFY);
}

int disks::open_found(const node& n, int flags) noexcept {
  if (S_ISSOCK(n->mode)) return refuse(ENXIO);
  if ((flags & O_CREAT) && (flags & O_EXCL)) return refuse(EEXIST);
  if (n->is_directory() && (may_write(flags) || (flags & O_CREAT))) return refuse(EISDIR);
  if (flags & O_TRUNC) record(*n, {0, {}, true});
  return 0;
}

int disks::open(const char* path, int flags, unsigned mode) noexcept {
  const own_allocations unwatched;
  if (is_interrupted()) return -1;
  auto& v = here();
  auto n = look_up(v, path);
  if (!n) return -1;
  if (n->found) {
    if (open_found(n->found, flags) != 0) return -1;
  } else {
    if (!(flags & O_CREAT)) return refuse(ENOENT);
    n->found = make_node(S_IFREG | (mode & ~nobody_elses));
    add(v, *n);
  }
  handles_.emplace(next_number_, std::make_shared<handle>(*this, std::move(n->found), v, flags));
  return next_number_++;
}

int disks::duplicate(int fd) noexcept {
  touch();
  const auto known = handles_.find(fd);
  if (known == handles_.end()) return refuse(EBADF);
  handles_.emplace(next_number_, known->second);
  return next_number_++;
}

int disks::close(int fd) noexcept {
  if (handles_.erase(fd) == 0) return refuse(no_such_file(fd));
  return 0;
}

long disks::read(int fd, std::span<std::byte> buffer, std::int64_t offset) noexcept {
  auto* h = find(fd);
  if (!h || is_interrupted() || fails(*h)) return -1;
  if (h->file->is_directory()) return refuse(EISDIR);
  if (!may_read(h->flags)) return refuse(EBADF);
  const auto from = static_cast<std::uint64_t>(offset == at_position ? h->position : offset);
  const auto& bytes = h->file->seen;
  if (from >= bytes.size()) return 0;
  auto n = std::min(buffer.size(), static_cast<std::size_t>(bytes.size() - from));
  if (n > 1 && chance(one_in_short_transfers)) n = some_of(n);
  std::memcpy(buffer.data(), bytes.data() + from, n);
  if (offset == at_position) h->position += static_cast<std::int64_t>(n);
  return static_cast<long>(n);
}

long disks::write(int fd, std::span<const std::byte> data, std::int64_t offset) noexcept {
  const own_allocations unwatched;
  auto* h = find(fd);
  if (!h || is_interrupted() || fails(*h)) return -1;
  if (!may_write(h->flags)) return refuse(EBADF);
  auto& f = *h->file;
  const auto at =
      h->flags & O_APPEND ? f.seen.size() : static_cast<std::uint64_t>(offset == at_position ? h->position : offset);
  auto n = data.size();
  if (n > 1 && chance(one_in_short_transfers)) n = some_of(n);
  if (h->on->as.capacity != UINT64_MAX && at + n > f.seen.size()) {
    const auto used = bytes_below(*h->on->root);
    const auto end_max = f.seen.size() + (h->on->as.capacity - std::min(used, h->on->as.capacity));
    if (n > 0 && at >= end_max) return refuse(ENOSPC);
    n = std::min<std::uint64_t>(n, end_max - at);
  }
  if (n > 0) record(f, {at, std::string(reinterpret_cast<const char*>(data.data()), n)});
  if (offset == at_position) h->position = static_cast<std::int64_t>(at + n);
  return static_cast<long>(n);
}

std::int64_t disks::seek(int fd, std::int64_t offset, int whence) noexcept {
  auto* h = find(fd);
  if (!h) return -1;
  const auto to = offset + (whence == SEEK_CUR ? h->position : 0);
  if (to < 0) return refuse(EINVAL);
  return h->position = to;
}

int disks::sync(int fd) noexcept {
  const own_allocations unwatched;
  auto* h = find(fd);
  if (!h || is_interrupted()) return -1;
  auto& f = *h->file;
  if (fails(*h)) {
    f.unsynced.clear();
    return -1;
  }
  if (f.is_directory()) {
    commit(*h->on, h->on->journal.size());
    return 0;
  }
  for (const auto& c : std::exchange(f.unsynced, {})) change_bytes(f.synced, c);
  return 0;
}

int disks::truncate(int fd, std::int64_t size) noexcept {
  const own_allocations unwatched;
  auto* h = find(fd);
  if (!h || is_interrupted()) return -1;
  if (size < 0 || !may_write(h->flags)) return refuse(EINVAL);
  auto& f = *h->file;
  const auto wanted = static_cast<std::uint64_t>(size);
  if (wanted > f.seen.max_size()) return refuse(EFBIG);
  if (wanted > f.seen.size() && wanted - f.seen.size() + bytes_below(*h->on->root) > h->on->as.capacity)
    return refuse(ENOSPC);
  record(f, {wanted, {}, true});
  return 0;
}

namespace {

template <class Inode>
void describe_inode(const Inode& n, struct stat& s) noexcept {
  s = {};
  s.st_ino = n.number;
  s.st_mode = n.mode;
  s.st_nlink = 1;
  s.st_size = static_cast<off_t>(n.seen.size());
  s.st_mtim = {.tv_sec = n.modified_at / 1'000'000'000, .tv_nsec = n.modified_at % 1'000'000'000};
}

}  // namespace

int disks::describe(int fd, struct stat& s) noexcept {
  auto* h = find(fd);
  if (!h) return -1;
  describe_inode(*h->file, s);
  return 0;
}

int disks::describe(const char* path, struct stat& s) noexcept {
  const own_allocations unwatched;
  const auto n = look_up(here(), path);
  if (!n) return -1;
  if (!n->found) return refuse(ENOENT);
  describe_inode(*n->found, s);
  return 0;
}

// ---------------------------------------------------------------------------------------------------------------
// Cuts of power.

// Some sectors of a write, or none, or all.
void disks::tear(std::string& bytes, const change& c) {
  const auto end = c.offset + c.bytes.size();
  for (auto at = c.offset; at < end;) {
    const auto next = std::min(end, (at / sector + 1) * sector);
    if (rng_.below(2) == 0) put(bytes, at, std::string_view(c.bytes).substr(at - c.offset, next - at));
    at = next;
  }
}

void disks::survive(inode& n) {
  for (const auto& c : std::exchange(n.unsynced, {})) {
    const auto fate = rng_.below(3);
    if (fate == 0) continue;
    if (fate == 1 || c.cuts)
      change_bytes(n.synced, c);
    else
      tear(n.synced, c);
  }
  n.seen = n.synced;
  n.entries = n.synced_entries;
  n.held = 0;
  for (const auto& [last, child] : n.entries) {
    place(*child, n, last);
    survive(*child);
  }
}

void disks::cut_power(std::string_view host) {
  const own_allocations unwatched;
  const auto h = hosts_.named(host);
  auto& v = volume_of(h);
  watchers_.end_all(h, IN_UNMOUNT);
  commit(v, rng_.below(static_cast<std::uint32_t>(v.journal.size() + 1)));
  v.journal.clear();
  v.nameless.clear();
  survive(*v.root);
  ++v.power_cuts;
}

// ---------------------------------------------------------------------------------------------------------------
// What a program asks of its disks.

namespace {

disks& disks_here() {
  auto* w = sched::this_worker();
  auto* files = w ? w->home.files() : nullptr;
  if (!files) throw std::logic_error("thrum: sim: there are disks of hosts only in a simulation");
  return static_cast<disks&>(*files);
}

}  // namespace

void set_disk(std::string_view host, const disk& d) { disks_here().set(host, d); }
void cut_power(std::string_view host) { disks_here().cut_power(host); }

}  // namespace thrum::sim
