// Waiting where no event tells when to try again: for a free descriptor, or for a place in the queue of a Unix socket
// that belongs to somebody else. Pauses grow from 1 ms to 100 ms, and end when this process closes a socket.
//
// The one who waits counts himself and notes the number of closings *before* he tries again, and then waits for it to
// change; the one who closes does so before he looks whether anybody counts (socket::close). Both with a full fence in
// between: one of the two sees the other.
#pragma once

#include <atomic>
#include <cstdint>

#include "sched/fd_watch.hpp"

namespace thrum::net {

// For closing sockets: wakes whoever pauses.
void descriptor_freed() noexcept;

class patience {
 public:
  // Closing ends the wait of those whose socket others can reach.
  enum class socket_is { shared, local };

  // Nothing is waited for beyond `limit_ns`.
  explicit patience(std::int64_t limit_ns, socket_is known_to = socket_is::shared) noexcept;
  ~patience();
  patience(const patience&) = delete;
  patience& operator=(const patience&) = delete;

  // Before each try: what is closed from now on is noticed.
  void look() noexcept;

 private:
  friend class socket;
  struct task_pause;
  bool is_woken() const noexcept;
  bool is_over() const noexcept;
  std::int64_t next_pause_until_ns() noexcept;
  void mind(sched::found_watch found) noexcept;
  bool was_closed() const noexcept { return watched_ && watched_.watch->generation() != watched_.generation; }

  const std::int64_t limit_ns_;
  const bool may_be_closed_;
  std::int64_t pause_ns_ = 1'000'000;
  std::uint32_t seen_ = 0;
  sched::found_watch watched_;  // Watches are never freed, so that it can be asked when the socket is gone.
};

}  // namespace thrum::net
