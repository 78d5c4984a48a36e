// Waiting for changes in files and directories (inotify).
//
//   auto w = thrum::file_watcher::open();
//   w.watch("/etc/my-service");
//   for (;;)
//     for (const auto& e : w.receive())
//       if (e.change == thrum::file_change::written) reload(e.name);
//
// receive() waits for the descriptor's readiness, like a socket, and so occupies no thread; it suspends and is a
// cancellation point, and deadlines and time-outs are net::socket's. Errors throw std::system_error; the overloads with
// an error_code report them there, cancellation included (errc::operation_canceled). One fiber, task or thread
// receives; others may call watch() and unwatch() meanwhile.
//
// What the kernel tells is what this tells: only of changes made through this machine's file system; equal events in a
// row may come as one; of a directory its own entries, not those below; and in a queue that overflows
// (file_change::lost) events are lost. In a simulation it tells the same, of the simulated disk of the host on which it
// was opened (sim_disk.hpp).
#pragma once

#include <cstdint>
#include <string>
#include <system_error>
#include <vector>

#include <thrum/net/socket.hpp>

namespace thrum {

enum class file_change : std::uint8_t {
  created,     // An entry of the directory,
  removed,     // likewise,
  moved_from,  // its old name; the event with the new one has the same `move`,
  moved_to,    // if both are watched.
  modified,    // Written to or truncated: one or more calls. Only if asked for.
  written,     // Closed by someone who could write.
  attributes,  // Permissions, times, links.
  gone,        // The watched file itself was removed or moved away.
  ended,       // The watch is over, by unwatch(), removal or unmounting: the last event of its number.
  lost,        // The kernel's queue was full. Belongs to no watch (-1).
};

struct file_event {
  int watch = -1;  // The number that watch() gave.
  file_change change = file_change::lost;
  bool of_directory = false;  // It is about a directory.
  std::uint32_t move = 0;     // Joins the two ends of a move; 0: none.
  std::string name = {};      // Of the directory's entry; empty when it is about the watched file itself.
};

class file_watcher : public net::socket {
 public:
  file_watcher() noexcept = default;

  // Does not suspend. Throws std::system_error, such as errc::too_many_files_open: users have a limit of instances,
  // too.
  static file_watcher open();
  static file_watcher open(std::error_code& error) noexcept;

  // From now on events about the file or directory are received. Returns the number of the watch, the same for the same
  // file. Offloaded, since it looks the path up: suspends, and is a cancellation point until it has begun.
  int watch(std::string path, bool each_write = false);
  int watch(std::string path, bool each_write, std::error_code& error);
  task<int> async_watch(std::string path, bool each_write = false);
  task<int> async_watch(std::string path, bool each_write, std::error_code& error);
  // Does not suspend. Events that have happened already may still be received.
  void unwatch(int number);

  // One event at least, and as many more as are there; none only with an error.
  std::vector<file_event> receive();
  std::vector<file_event> receive(std::error_code& error);
  task<std::vector<file_event>> async_receive();
  task<std::vector<file_event>> async_receive(std::error_code& error);

 private:
  explicit file_watcher(int fd) noexcept : socket(fd) {}
};

}  // namespace thrum
