// Walking directories: a stack of those that are open, from the first to the current one, each with the batch of its
// entries that has been read and not yet been given.
//
// Only the current directory is read, so at most one batch per level is held. A directory is opened when the walk goes
// into it, by the descriptor of the one above and without following links unless that is asked for, so that nobody can
// lead the walk elsewhere by renaming.
//
// Rejected: a queue of the paths of directories to be read, as it grows with the breadth of the tree, and paths can be
// given another meaning meanwhile.
#include <thrum/directory_walk.hpp>

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <utility>
#include <vector>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file/kernel.hpp"
#include "file/offload.hpp"
#include "file/system_calls.hpp"
#include "os/errno.hpp"

namespace thrum::files {

class open_directory {
 public:
  explicit open_directory(int fd) noexcept : stream_(fd < 0 ? nullptr : ::fdopendir(fd)) {
    if (!stream_ && fd >= 0) ::close(fd);
  }
  open_directory(open_directory&& other) noexcept : stream_(std::exchange(other.stream_, nullptr)) {}
  open_directory& operator=(open_directory&& other) noexcept {
    open_directory moved(std::move(other));
    std::swap(stream_, moved.stream_);
    return *this;
  }
  ~open_directory() {
    if (stream_) ::closedir(stream_);
  }

  explicit operator bool() const noexcept { return stream_ != nullptr; }
  int fd() const noexcept { return stream_ ? ::dirfd(stream_) : -1; }
  // Null at the end, or with errno.
  const dirent* read() noexcept {
    errno = 0;
    return ::readdir(stream_);
  }

 private:
  DIR* stream_;
};

class walk_state {
 public:
  walk_state(std::string path, const walk_options& o) : root_(std::move(path)), options_(o) {
    options_.batch_size = std::max<std::size_t>(options_.batch_size, 1);
  }

  // From what has been read already. Nothing: there is something to be read first.
  std::optional<std::optional<walked_entry>> at_once();
  // On a thread that may block: reads until there is an entry to give, or the walk has ended.
  std::optional<walked_entry> read(std::error_code& error);
  void skip() noexcept { goes_in_ = false; }

 private:
  struct found {
    std::string name;
    file_kind kind;
  };
  struct level {
    open_directory directory;  // None in a simulation, whose directories are read at once.
    std::string path;
    dev_t device;
    ino_t number;
    std::vector<found> batch{};
    std::size_t next = 0;      // In the batch.
    std::error_code failed{};  // Nothing more can be read.

    bool has_entry() const noexcept { return next < batch.size(); }
  };

  walked_entry take();
  void enter(int above, const std::string& name, std::string path, std::error_code& error);
  void enter_own(sched::file_system& s, std::string path, std::error_code& error);
  void read_batch(level& l);
  found look_at(const level& l, const dirent& e) const;
  bool is_on_the_way(const struct stat& s) const noexcept;
  walked_entry failure(std::string path, std::error_code why) const {
    return {.path = std::move(path), .kind = file_kind::directory, .depth = levels_.size(), .error = why};
  }

  const std::string root_;
  walk_options options_;
  std::vector<level> levels_;
  bool began_ = false;
  bool goes_in_ = false;  // Into the directory that was given last, which is the one before `next` of the last level.
};

namespace {

void note(std::error_code& error) noexcept { error.assign(os::error_number(), std::generic_category()); }

std::string below(const std::string& path, const std::string& name) {
  return path.ends_with('/') ? path + name : path + '/' + name;
}

}  // namespace

std::optional<std::optional<walked_entry>> walk_state::at_once() {
  if (goes_in_ || levels_.empty() || !levels_.back().has_entry()) return {};
  return take();
}

walked_entry walk_state::take() {
  auto& l = levels_.back();
  const auto& f = l.batch[l.next];
  walked_entry e{.path = below(l.path, f.name), .kind = f.kind, .depth = levels_.size()};
  goes_in_ = f.kind == file_kind::directory && levels_.size() < options_.depth_max;
  ++l.next;  // Not before there has been memory for it.
  return e;
}

std::optional<walked_entry> walk_state::read(std::error_code& error) {
  if (!std::exchange(began_, true) && options_.depth_max > 0) {
    enter(AT_FDCWD, root_, root_, error);
    if (error) return {};
  }
  std::error_code why;
  if (std::exchange(goes_in_, false)) {
    auto& l = levels_.back();
    const auto& name = l.batch[l.next - 1].name;
    enter(l.directory.fd(), name, below(l.path, name), why);
    if (why) return failure(below(l.path, name), why);
  }
  while (!levels_.empty()) {
    auto& l = levels_.back();
    if (!l.has_entry() && !l.failed) read_batch(l);
    if (l.has_entry()) return take();
    why = l.failed;
    auto path = std::move(l.path);
    levels_.pop_back();
    if (why && levels_.empty()) error = why;
    if (why && !levels_.empty()) return failure(std::move(path), why);
  }
  return {};
}

// The first one may be a link.
void walk_state::enter(int above, const std::string& name, std::string path, std::error_code& error) {
  if (auto* s = kernel::own()) return enter_own(*s, std::move(path), error);
  const int links = options_.follow_links || levels_.empty() ? 0 : O_NOFOLLOW;
  const int fd = ::openat(above, name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | links);
  struct stat s {};
  open_directory d(fd);
  if (!d || ::fstat(d.fd(), &s) != 0) return note(error);
  if (is_on_the_way(s)) {
    error = std::make_error_code(std::errc::too_many_symbolic_link_levels);
    return;
  }
  levels_.push_back({std::move(d), std::move(path), s.st_dev, s.st_ino});
}

void walk_state::enter_own(sched::file_system& s, std::string path, std::error_code& error) {
  std::vector<sched::file_system::entry> entries;
  if (s.list(path.c_str(), entries) != 0) return note(error);
  levels_.push_back({open_directory(-1), std::move(path), 0, 0});
  for (auto& [name, mode] : entries) levels_.back().batch.push_back({std::move(name), kind_of_mode(mode)});
}

bool walk_state::is_on_the_way(const struct stat& s) const noexcept {
  return std::ranges::any_of(levels_, [&](const level& l) { return l.device == s.st_dev && l.number == s.st_ino; });
}

void walk_state::read_batch(level& l) {
  l.batch.clear();
  l.next = 0;
  if (!l.directory) return;
  while (l.batch.size() < options_.batch_size) {
    const dirent* e = l.directory.read();
    if (!e) {
      if (os::error_number() != 0) note(l.failed);
      return;
    }
    const std::string_view name = e->d_name;
    if (name != "." && name != "..") l.batch.push_back(look_at(l, *e));
  }
}

// Some file systems do not tell the kind, and a link's target has to be asked for.
walk_state::found walk_state::look_at(const level& l, const dirent& e) const {
  auto kind = kind_of_entry(e);
  struct stat s {};
  if (kind == file_kind::unknown && ::fstatat(l.directory.fd(), e.d_name, &s, AT_SYMLINK_NOFOLLOW) == 0)
    kind = kind_of_mode(s.st_mode);
  if (kind == file_kind::link && options_.follow_links && ::fstatat(l.directory.fd(), e.d_name, &s, 0) == 0)
    kind = kind_of_mode(s.st_mode);
  return {e.d_name, kind};
}

struct next_entry_call {
  walk_state& walk;
  std::optional<std::optional<walked_entry>> at_once() { return walk.at_once(); }
  std::optional<walked_entry> operator()(std::error_code& error) const { return walk.read(error); }
};

}  // namespace thrum::files

namespace thrum {

directory_walk::directory_walk(std::string path, const walk_options& options)
    : state_(std::make_unique<files::walk_state>(std::move(path), options)) {}
directory_walk::directory_walk(directory_walk&&) noexcept = default;
directory_walk& directory_walk::operator=(directory_walk&&) noexcept = default;
directory_walk::~directory_walk() = default;

std::optional<walked_entry> directory_walk::next() {
  return files::demand("thrum: walk a directory", files::next_entry_call{*state_});
}
std::optional<walked_entry> directory_walk::next(std::error_code& error) {
  return files::report(error, files::next_entry_call{*state_});
}
task<std::optional<walked_entry>> directory_walk::async_next() {
  return files::async_demand("thrum: walk a directory", files::next_entry_call{*state_});
}
task<std::optional<walked_entry>> directory_walk::async_next(std::error_code& error) {
  return files::async_report(error, files::next_entry_call{*state_});
}

void directory_walk::skip() noexcept { state_->skip(); }

}  // namespace thrum
