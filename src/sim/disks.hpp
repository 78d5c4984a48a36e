// The simulated disks: one file system for each host, in memory, which knows what of it would survive a cut of power.
//
// Model. An inode is a file or a directory. A file has its bytes as programs see them, those that are on the device,
// and the changes in between, in order. Names are kept twice as well: as they are seen, and as the device has them,
// with a journal of the changes in between, which is one for the whole disk.
//
// Everything here belongs to the one worker.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <thrum/sim_disk.hpp>

#include "base/rng.hpp"
#include "sched/file_system.hpp"
#include "sched/seams.hpp"
#include "sim/hosts.hpp"
#include "sim/schedule.hpp"
#include "sim/watchers.hpp"

namespace thrum::sim {

class disks final : public sched::file_system {
 public:
  disks(const options& o, sched::clock_source& clock, hosts& h);

  // --- What the program does to it, as sim_disk.hpp has it.
  void set(std::string_view host, const disk& d);
  void cut_power(std::string_view host);

  // --- The files' side.
  int open(const char* path, int flags, unsigned mode) noexcept override;
  int close(int fd) noexcept override;
  long read(int fd, std::span<std::byte> buffer, std::int64_t offset) noexcept override;
  long write(int fd, std::span<const std::byte> data, std::int64_t offset) noexcept override;
  std::int64_t seek(int fd, std::int64_t offset, int whence) noexcept override;
  int sync(int fd) noexcept override;
  int truncate(int fd, std::int64_t size) noexcept override;
  int describe(int fd, struct stat& s) noexcept override;
  int describe(const char* path, struct stat& s) noexcept override;
  int list(const char* path, std::vector<entry>& out) override;
  int make_directory(const char* path, unsigned mode) noexcept override;
  int remove(const char* path) noexcept override;
  int rename(const char* from, const char* to) noexcept override;
  void remove_socket(const char* path, std::uint64_t inode) noexcept override;

  // --- The network's side.
  // Another descriptor of the same open file.
  int duplicate(int fd) noexcept;
  // A file by which others find the socket, and which is held as long as `held` is. 0 or an errno value.
  int make_socket(host_id h, std::string_view path, int socket, std::shared_ptr<const void>& held);
  // The socket of that name, which may be gone; -1, and errno, when there is none.
  int socket_at(host_id h, std::string_view path);
  // Of that host's disk. Whoever owns it is among those who have been told, when it has been.
  std::shared_ptr<watcher> make_watcher(host_id h, int owner);
  int watch(watcher& w, const char* path, std::uint32_t events);  // The number of the watch; -1, and errno.
  std::vector<int> take_told() noexcept { return watchers_.take_told(); }

 private:
  struct change {  // To the bytes of a file.
    std::uint64_t offset;
    std::string bytes;
    bool cuts = false;  // It ends at the offset instead: a truncation.
  };
  struct inode {
    std::uint64_t number = 0;
    unsigned mode = 0;
    int socket = -1;  // Whose file it is.
    std::int64_t modified_at = 0;
    std::string seen, synced;
    std::vector<change> unsynced;
    std::map<std::string, std::shared_ptr<inode>, std::less<>> entries, synced_entries;  // Of a directory.
    // Where it is, or was before it was removed: events of the file are told there, too.
    std::uint64_t parent = 0;
    std::string last;
    bool is_linked = false;
    unsigned held = 0;  // By so many: open files, and sockets whose file it is.

    bool is_directory() const noexcept { return S_ISDIR(mode); }
  };
  using node = std::shared_ptr<inode>;
  struct name {  // In a directory; the node is null when nothing has it.
    node directory;
    std::string last;
    node found;
  };
  struct renaming {  // A step of a directory from one state to the next.
    node directory;
    std::string last;
    node now;
  };
  struct volume {
    disk as;
    node root;
    std::vector<std::vector<renaming>> journal;
    std::vector<node> nameless;  // They were removed, and are not gone, as they are held.
    std::uint32_t power_cuts = 0;
  };
  struct handle {  // Holds the file.
    handle(disks& d, node n, volume& v, int f);
    ~handle();
    handle(const handle&) = delete;
    handle& operator=(const handle&) = delete;

    disks& of;
    node file;
    volume* on;
    std::uint32_t power_cuts;  // Of the volume, when it was opened.
    int flags;
    std::int64_t position = 0;
  };

  void touch() noexcept;
  volume& volume_of(host_id h);
  node make_node(unsigned mode);
  volume& here() { return volume_of(hosts_.of_caller()); }
  static std::optional<name> look_up(volume& v, std::string_view path);
  static void commit(volume& v, std::size_t steps);
  static void change_names(volume& v, std::vector<renaming> step);
  handle* find(int fd) noexcept;  // Null, and errno: it is not open, or a cut of power has come between.
  bool fails(const handle& h) noexcept;
  bool is_interrupted() noexcept;
  int open_found(const node& n, int flags) noexcept;
  void record(inode& f, change c);
  void survive(inode& n);
  void tear(std::string& bytes, const change& c);
  bool chance(std::uint32_t one_in) noexcept { return one_in > 0 && rng_.below(one_in) == 0; }
  std::size_t some_of(std::size_t n) noexcept { return 1 + static_cast<std::size_t>(rng_.next() % (n - 1)); }

  // --- disk_events.cpp
  static void place(inode& n, const inode& directory, const std::string& last);
  void add(volume& v, const name& n);  // What is found there, from now on.
  void take_away(volume& v, const name& n);
  void tell_of_move(volume& v, const name& from, const name& to);
  void tell_of(const inode& f, std::uint32_t what);
  void end_if_gone(volume& v, const node& n);

  const options& options_;
  sched::clock_source& clock_;
  hosts& hosts_;
  base::rng rng_;
  int next_number_;
  std::uint64_t last_inode_ = 0;
  watchers watchers_;
  std::map<host_id, std::unique_ptr<volume>> volumes_;
  std::map<int, std::shared_ptr<handle>> handles_;
};

}  // namespace thrum::sim
