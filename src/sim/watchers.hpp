// Who watches which files, and what they have yet to be told: what inotify(7) is to the kernel. Files are numbers here.
//
// Everything here belongs to the one worker.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sim/hosts.hpp"

namespace thrum::sim {

class watchers;

// An instance: its watches, and a queue of events. Its watches end with it.
class watcher {
 public:
  watcher(watchers& all, host_id h, int owner);
  ~watcher();
  watcher(const watcher&) = delete;
  watcher& operator=(const watcher&) = delete;

  host_id host() const noexcept { return host_; }
  // The watch's number, the same for the same file. The events are those of before no longer.
  int add(std::uint64_t file, std::uint32_t events);
  bool remove(int watch);  // False: there is no such watch.
  bool has_events() const noexcept { return !events_.empty(); }
  long read(std::span<std::byte> room) noexcept;  // Whole events, as read(2): -1, and errno, when there are none.

 private:
  friend class watchers;
  struct event {
    int watch;
    std::uint32_t what;
    std::uint32_t move = 0;
    std::string name = {};
  };
  struct watched {
    int number;
    std::uint32_t events;
  };

  static bool says_the_same(const event& before, const event& e) noexcept;
  void queue(event e);
  void tell(std::uint64_t file, std::uint32_t what, std::string_view name, std::uint32_t move);
  void end(std::uint64_t file, std::uint32_t why);
  void end_all(std::uint32_t why);

  watchers& all_;
  const host_id host_;
  const int owner_;
  std::map<std::uint64_t, watched> watched_;  // By file.
  int last_number_ = 0;
  std::deque<event> events_;
  bool has_lost_ = false;  // And says so, in the queue.
};

// All that there are. Events are those of inotify(7), IN_…
class watchers {
 public:
  // Those who want to know, about the file itself or, with a name, about a directory's entry.
  void tell(std::uint64_t file, std::uint32_t what, std::string_view name = {}, std::uint32_t move = 0);
  void end(std::uint64_t file, std::uint32_t why);  // Of all watches of the file; told, too.
  void end_all(host_id h, std::uint32_t why);       // Of a host.
  std::uint32_t next_move() noexcept { return ++last_move_; }
  // Who has been told something since the last time: their owners, each once.
  std::vector<int> take_told() noexcept { return std::exchange(told_, {}); }

 private:
  friend class watcher;

  std::vector<watcher*> all_;
  std::vector<int> told_;
  std::uint32_t last_move_ = 0;
};

}  // namespace thrum::sim
