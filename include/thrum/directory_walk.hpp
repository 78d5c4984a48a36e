// Goes through a directory and those below it, without holding all of it in memory.
//
//   thrum::directory_walk walk("/var/log");
//   while (const auto e = walk.next()) {
//     if (e->error) report(e->path, e->error);
//     else if (e->kind == thrum::file_kind::regular) use(e->path);
//   }
//
// A directory comes before what is in it; within one there is no order. The system calls are made on threads of the
// pool (blocking.hpp), a batch of entries each, and what is in the batch is given without waiting. What changes
// meanwhile may be seen or not. A directory is opened by the one above it, so that it is not left when somebody renames
// it or puts a link in its place.
//
// It takes a descriptor and a batch of entries for each level on the way to the current entry.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <system_error>

#include <thrum/file.hpp>

namespace thrum {

namespace files {
class walk_state;  // src/file/directory_walk.cpp
}

struct walk_options {
  std::size_t depth_max = SIZE_MAX;  // 1: only what is in the directory itself.
  // Links are entries of their own kind. True: what they lead to, with its kind, and directories below them; one that
  // leads to a directory on the way to itself has the error errc::too_many_symbolic_link_levels, one that leads nowhere
  // stays a link.
  bool follow_links = false;
  std::size_t batch_size = 256;  // So many entries are read at a time; at least 1.
};

struct walked_entry {
  std::string path;  // Begins with the path that the walk was given.
  file_kind kind = file_kind::unknown;
  std::size_t depth = 0;  // 1: in the directory that the walk was given.
  // Why it could not be looked at. A directory that cannot be read comes once without and once more with an error; the
  // walk goes on.
  std::error_code error = {};
};

// One fiber, task or thread at a time. Movable while no call is under way.
class directory_walk {
 public:
  explicit directory_walk(std::string path, const walk_options& options = {});  // Opens nothing yet.
  directory_walk(directory_walk&&) noexcept;
  directory_walk& operator=(directory_walk&&) noexcept;
  ~directory_walk();

  // The next entry; nothing at the end. Suspends, and is a cancellation point; a call that was cancelled has skipped
  // nothing. Throws std::system_error, or reports in the error_code, cancellation included (errc::operation_canceled),
  // when the directory that the walk was given cannot be read; errors further down are in the entries.
  std::optional<walked_entry> next();
  std::optional<walked_entry> next(std::error_code& error);
  // For tasks, with <thrum/task.hpp>: co_await them. The walk and the error_code must outlive the call.
  task<std::optional<walked_entry>> async_next();
  task<std::optional<walked_entry>> async_next(std::error_code& error);

  // The directory that next() has just given is not gone into. Does not suspend.
  void skip() noexcept;

 private:
  std::unique_ptr<files::walk_state> state_;
};

}  // namespace thrum
