// How an interposed call waits for a descriptor that is not ours: nothing is known of it, any library may close or
// duplicate it unseen, and its description may be shared with other processes.
//
// Model. A lookout is told anew at each wait what to look at, by EPOLL_CTL_MOD or, if the kernel says that this number
// does not stand for a file that it knows, by ADD. So it never matters what has become of a descriptor since the last
// wait, and nothing is changed that others can see. When the wait is over the lookout stays with the number, for the
// next one. It belongs to one call at a time; two that wait for one descriptor have two.
//
// There are two kinds. A direct one is a watch alone, which the runtime's poller tells once of what the descriptor is
// ready for (fd_watch::watch_once): a system call more than a wait for a descriptor of our own, and what poll(2) is to
// say comes with it. It is of one descriptor, which has one place for it; whoever else waits for that descriptor, for
// several, or with a poller that cannot tell once, has a nested one: an epoll instance of its own, and the runtime's
// watch on that.
//
// No edge is lost. A direct lookout is told after an attempt what is so at once. A wait that nothing ended may be told
// of later: its watch is given back, so that what is still told is void. With a nested one the call goes: `before` =
// the watch's word; attempt; if there is nothing, the mark is taken back unless the word has changed since; register;
// wait unless marked. An edge after the attempt comes through the old registration and changes the word, or through the
// new one, which tells at once what is ready. What an older registration still tells wakes somebody for nothing, who
// looks again.
//
// Closing a number through close, dup2 or dup3 ends the waits for it: the calls fail with EBADF, and do not go on with
// what the number may stand for by then. The number of a description that was closed otherwise, inside of libc, is only
// known to the kernel: such a wait goes on, as a thread's does.
//
// Thread safety: a slot's lists are guarded by its lock. It is taken outside of the runtime, never inside, and before a
// watch's locks; a lookout is its call's.
//
// Rejected. Registering as descriptors of our own are: for good, and in the place of one that is registered already.
// Holding a duplicate while waiting: the peer of a closed socket would not notice. See docs/decisions/0025.
#pragma once

#include <cstdint>

#include <poll.h>

#include <thrum/detail/spinlock.hpp>

#include "sched/fd_watch.hpp"
#include "sched/foreign_code.hpp"

namespace thrum::interpose {

struct lookout;
struct slot;

enum class purpose : unsigned { reading, writing, several };
inline constexpr unsigned purposes = 3;

enum class outcome {
  look,       // There may be something: attempt again.
  timed_out,  // Attempt once more: what has come by the deadline counts.
  cancelled,
  closed,  // By another fiber or thread, or the number stands for something else now.
  kernel,  // This cannot be waited for here: let the kernel block the thread.
};

// A call's use of a lookout, from before its first attempt.
class patience {
 public:
  patience(const sched::scheduler& home, int fd, purpose p) noexcept;
  ~patience();
  patience(const patience&) = delete;
  patience& operator=(const patience&) = delete;

  void before_attempt() noexcept;
  // For one descriptor: for what it was made, or for these bits of poll(2). Resumes on the thread that it was called
  // on, as all here.
  outcome wait(std::int64_t deadline_ns) noexcept {
    return wait(deadline_ns, purpose_ == purpose::writing ? POLLOUT : POLLIN | POLLRDHUP);
  }
  outcome wait(std::int64_t deadline_ns, unsigned events) noexcept;
  // What poll(2) would say after a wait for `events` that says `look`; 0: that is not known.
  unsigned told() const noexcept { return told_; }
  // The attempt before a wait for one descriptor may be left out: it hardly ever finds anything here.
  bool may_spare_attempt() noexcept;
  void note_hopeless(bool nothing_was_there) noexcept;  // What came of one that was made.
  // For several, of which `fd` is the first: what is to be looked at, once and in the beginning; then, after each
  // attempt that has found nothing, a wait.
  bool look_at(const pollfd& one) noexcept;  // False: it cannot be waited for. Skips negative ones.
  outcome wait_for_several(std::int64_t deadline_ns) noexcept;
  // In the end, so that nothing is told of these any more. To be called before the destructor if look_at() was.
  void look_away(const pollfd* all, nfds_t n) noexcept;

 private:
  bool has_nested() noexcept;
  bool enlist(slot& s) noexcept;
  void leave(slot& s) noexcept;
  outcome wait_directly(std::int64_t deadline_ns, unsigned events) noexcept;
  outcome wait_nested(std::int64_t deadline_ns, unsigned events) noexcept;
  outcome park(std::int64_t deadline_ns) noexcept;

  const int fd_;
  const purpose purpose_;
  slot* const slot_;
  lookout* lookout_ = nullptr;
  std::uint64_t before_ = 0;
  unsigned told_ = 0;
};

// The number is about to be closed or to stand for something else.
void forget_descriptor(int fd) noexcept;

// Who has it asks a listener and accepts. Others of this process have to look again a little later, so that no two see
// the same connection, of whom one then would block its thread.
class accept_turn {
 public:
  explicit accept_turn(int fd) noexcept;
  ~accept_turn();
  accept_turn(const accept_turn&) = delete;
  accept_turn& operator=(const accept_turn&) = delete;
  bool mine() const noexcept { return mine_; }

 private:
  slot* const slot_;
  bool mine_;
};

}  // namespace thrum::interpose
