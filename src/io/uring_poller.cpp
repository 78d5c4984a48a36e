// io_uring's multishot polls, edge-triggered, in a ring per processor.
//
// The keeper. The kernel ties a poll to the thread that submitted it: that thread has to run before an event reaches
// the ring, its blocking calls are interrupted for that (EINTR), its end cancels the poll, and so long as it sleeps in
// the kernel uninterruptibly, or has lost its core, nothing arrives and nothing can be cancelled. A worker runs user
// code, may do all of these, and loses its processor to another thread when it does. So every poll is submitted by a
// thread of the poller's own that does nothing else: the keeper. It sleeps on a futex, and what the kernel does with
// events in its name happens within that sleep. Workers read the ring's completions, and wait for them, themselves.
//
//   watch, or a poll that has ended  ->  message to the keeper  ->  POLL_ADD, many with one call
//   forget                           ->  message to the keeper  ->  SYNC_CANCEL until there is nothing to cancel
//   wait                             ->  reads completions; none: io_uring_enter(GETEVENTS), with a time limit
//   wake                             ->  SEND_MSG_RING, which puts a completion into the ring and is no request
//
// The kernel also remembers every thread that opened a ring or submitted to it, and interrupts its calls when the ring
// is closed. So only the keeper does either: it opens the ring, and nobody else submits.
//
// Closing. A poll holds its file: a socket closed beneath it would send no FIN, a port would stay bound. forget()
// returns when the file has been let go. The keeper cancels, and what that makes the kernel do in the keeper's name is
// done when its call returns, or before it returns from a later one, if another processor was handling an event just
// then. A cancellation that finds nothing comes after that: so the keeper cancels until one does.
//
// No edge is lost. An armed poll tells what is so already, and from then on every edge, also while it handles one. It
// ends when the ring of completions is full; the completion that tells of that is kept by the kernel until there is
// room. Whoever reads it has the poll armed again, which tells what is so by then.
//
// Stale events carry an old generation, and the watch ignores them (sched/fd_watch.hpp).
//
// Thread safety: completions are read by the one thread in wait(); submissions are the keeper's; `lock_` guards the
// messages.
#include "io/uring_poller.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <mutex>
#include <system_error>
#include <utility>

#include <liburing.h>
#include <poll.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <thrum/detail/atomic.hpp>
#include <thrum/detail/spinlock.hpp>

#include "io/event.hpp"
#include "os/futex.hpp"
#include "os/thread.hpp"
#include "sched/thread_waiter.hpp"

namespace thrum::io {
namespace {

constexpr unsigned submissions = 64;
constexpr unsigned completions = 4096;
constexpr std::uint64_t woken_tag = 0;
constexpr unsigned awaited_events = EPOLLIN | EPOLLOUT | EPOLLRDHUP;
constexpr unsigned register_send_msg_ring = 31;  // IORING_REGISTER_SEND_MSG_RING, which liburing 2.3 does not know.

int open_ring(io_uring& ring) noexcept {
  io_uring_params p{};
  // COOP_TASKRUN: the keeper either sleeps or is about to; it need not be interrupted.
  p.flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN;
  p.cq_entries = completions;
  return ::io_uring_queue_init_params(submissions, &ring, &p);
}

// 0 when a poll with that tag was found, and has been told to end; -ENOENT when there is none.
int cancel(io_uring& ring, std::uint64_t tag) noexcept {
  io_uring_sync_cancel_reg r{};
  r.addr = tag;
  r.fd = -1;
  r.timeout = {.tv_sec = -1, .tv_nsec = -1};
  return ::io_uring_register_sync_cancel(&ring, &r);
}

// Puts a completion into the ring, whoever calls. 0, or an errno value.
int send_completion(int ring_fd, std::uint64_t tag) noexcept {
  io_uring_sqe message{};
  message.opcode = IORING_OP_MSG_RING;
  message.fd = ring_fd;
  message.off = tag;
  return ::syscall(SYS_io_uring_register, -1, register_send_msg_ring, &message, 1) < 0 ? errno : 0;
}

// What epoll says of it; io_uring would poll anything, and call files without readiness always ready.
int watchable(int fd) noexcept {
  struct stat s;
  if (::fstat(fd, &s) != 0) return errno;
  if (S_ISSOCK(s.st_mode) || S_ISFIFO(s.st_mode)) return 0;
  const int judge = ::epoll_create1(EPOLL_CLOEXEC);
  if (judge < 0) return errno;
  epoll_event nothing{.events = EPOLLET, .data = {.u64 = 0}};
  const int error = ::epoll_ctl(judge, EPOLL_CTL_ADD, fd, &nothing) == 0 ? 0 : errno;
  ::close(judge);
  return error;
}

const char* probe_ring() noexcept {
  io_uring ring{};
  const int error = open_ring(ring);
  if (error == -ENOSYS) return "the kernel has no io_uring, or a seccomp filter hides it";
  if (error == -EPERM || error == -EACCES)
    return "the kernel forbids it to this process (kernel.io_uring_disabled, or a seccomp filter)";
  if (error == -EMFILE || error == -ENFILE || error == -ENOMEM) return "there is no descriptor or memory for a ring";
  // The last thing that we need to have come, after edge-triggered multishot polls and SYNC_CANCEL: Linux 6.13.
  const bool complete = error == 0 && send_completion(ring.ring_fd, woken_tag) == 0;
  if (error == 0) ::io_uring_queue_exit(&ring);
  return complete ? nullptr : "the kernel is too old for it (6.13 is needed)";
}

class uring_poller final : public sched::poller {
 public:
  uring_poller() {
    if (const int error = os::start_thread(keeper_, &keeper_main, this))
      throw std::system_error(error, std::generic_category(), "thrum: cannot create the keeper of a ring");
    while (opened_.load(std::memory_order_acquire) == not_yet) os::futex_wait(opened_, not_yet);  // Pairs with open().
    if (const auto error = opened_.load(std::memory_order_relaxed)) {
      os::join_thread(keeper_);
      throw std::system_error(static_cast<int>(error), std::generic_category(), "thrum: io_uring_setup");
    }
  }

  ~uring_poller() override {
    if (is_mine()) {
      stop_.store(true, std::memory_order_relaxed);  // tell() publishes it.
      tell();
      os::join_thread(keeper_);
    } else {
      ::io_uring_queue_exit(&ring_);  // A forked child's part of it.
    }
  }

  int watch(int fd, sched::fd_watch& w) noexcept override {
    if (const int error = watchable(fd)) return error;
    // Pairs with the load in deliver(): the way of what the caller has written leads through the kernel, where neither
    // the language nor ThreadSanitizer sees it.
    watched_.fetch_add(1, std::memory_order_release);
    auto& r = w.at_poller();
    {
      std::lock_guard held(lock_);
      r.fd = fd;
      r.generation = w.generation();
      r.wanted = true;
      queue(w);
    }
    tell();
    return 0;
  }

  void forget(sched::fd_watch& w) noexcept override {
    watched_.fetch_sub(1, std::memory_order_release);
    if (!is_mine()) return;  // A forked child: the ring, its keeper and the polls are the parent's.
    auto& r = w.at_poller();
    {
      std::lock_guard held(lock_);
      r.wanted = false;
      r.gone.store(0, std::memory_order_relaxed);
      queue(w);
    }
    tell();
    while (r.gone.load(std::memory_order_acquire) == 0) os::futex_wait(r.gone, 0);  // Pairs with let_go().
  }

  void wait(std::int64_t deadline_ns, std::int64_t now_ns, sched::runnable_batch& out) noexcept override {
    const bool looks = deadline_ns <= now_ns;
    if (looks && watched() == 0) return;
    if (deliver(out) || (looks && !::io_uring_cq_has_overflow(&ring_))) return;
    const auto left = std::max<std::int64_t>(deadline_ns - now_ns, 0);
    const __kernel_timespec limit{.tv_sec = left / 1'000'000'000, .tv_nsec = left % 1'000'000'000};
    io_uring_getevents_arg arg{};
    if (deadline_ns != sched::never) arg.ts = reinterpret_cast<std::uintptr_t>(&limit);
    ::io_uring_enter2(static_cast<unsigned>(ring_.ring_fd), 0, looks ? 0 : 1,
                      IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, reinterpret_cast<sigset_t*>(&arg), sizeof arg);
    deliver(out);
  }

  // One completion is enough for all who wake before it is read: whoever reads it takes the mark back first, and so
  // sees what they did before.
  void wake() noexcept override {
    if (woken_.exchange(true, std::memory_order_acq_rel)) return;               // Pairs with take().
    while (send_completion(ring_.ring_fd, woken_tag) != 0) os::yield_thread();  // No memory for it: a moment later.
  }

  std::size_t watched() const noexcept override { return watched_.load(std::memory_order_relaxed); }

 private:
  struct message {
    sched::fd_watch* watch;
    std::uint16_t generation;
    bool wanted;
    int fd;

    std::uint64_t tag() const noexcept { return sched::found_watch{watch, generation}.packed(); }
  };

  bool is_mine() const noexcept { return process_ == ::getpid(); }

  // ---- Whoever waits.

  bool deliver(sched::runnable_batch& out) noexcept {
    (void)watched_.load(std::memory_order_acquire);  // Pairs with watch().
    unsigned head, count = 0;
    const io_uring_cqe* c;
    io_uring_for_each_cqe(&ring_, head, c) {
      take(*c, out);
      ++count;
    }
    ::io_uring_cq_advance(&ring_, count);
    return count > 0;
  }

  void take(const io_uring_cqe& c, sched::runnable_batch& out) noexcept {
    if (c.user_data == woken_tag) {
      woken_.exchange(false, std::memory_order_acq_rel);  // Pairs with wake().
      return;
    }
    const auto about = sched::found_watch::unpacked(c.user_data);
    const bool lost = c.res == -ECANCELED || c.res == -ENOMEM;  // The poll, not the descriptor.
    const auto events = c.res >= 0 ? static_cast<std::uint32_t>(c.res) : lost ? 0u : EPOLLERR | EPOLLHUP;
    if (is_so(events, about)) about.watch->ready(meaning(events), about.generation, out);
    if (!(c.flags & IORING_CQE_F_MORE) && !(events & EPOLLHUP)) arm_again(about);
  }

  // io_uring passes on what has woken the poll without looking whether it holds. A datagram that finds its peer's queue
  // full wakes its own sender when it is freed: without this look that one would try again for ever. By the time of the
  // look the number may be another descriptor's; then the watch is no longer of that generation, and nobody waits.
  bool is_so(std::uint32_t events, sched::found_watch about) noexcept {
    if ((events & awaited_events) != EPOLLOUT || (events & (EPOLLERR | EPOLLHUP))) return true;
    pollfd p{.fd = -1, .events = POLLOUT, .revents = 0};
    {
      std::lock_guard held(lock_);
      if (about.watch->generation() != about.generation) return false;  // As in arm_again().
      p.fd = about.watch->at_poller().fd;
    }
    return ::poll(&p, 1, 0) != 0;
  }

  void arm_again(sched::found_watch about) noexcept {
    {
      std::lock_guard held(lock_);
      // An old generation's watch may be another poller's by now, under another lock. With the present one it is not:
      // it would have to be forgotten first, and that takes a raised generation and then our lock.
      if (about.watch->generation() != about.generation) return;
      queue(*about.watch);
    }
    tell();
  }

  // ---- Messages.

  // Under lock_.
  void queue(sched::fd_watch& w) noexcept {
    auto& r = w.at_poller();
    if (r.queued) return;  // The message says what is wanted when it is read.
    r.queued = true;
    r.next = nullptr;
    (last_ ? last_->at_poller().next : first_) = &w;
    last_ = &w;
  }

  void tell() noexcept {
    messages_.fetch_add(1, std::memory_order_release);  // Pairs with keep().
    os::futex_wake(messages_, 1);
  }

  bool next(message& m) noexcept {
    std::lock_guard held(lock_);
    if (!first_) return false;
    auto& r = first_->at_poller();
    m = {.watch = first_, .generation = r.generation, .wanted = r.wanted, .fd = r.fd};
    r.queued = false;
    first_ = r.next;
    if (!first_) last_ = nullptr;
    return true;
  }

  // ---- The keeper.

  static void* keeper_main(void* self) {
    os::name_thread("thrum-ring");
    sched::thread_waiter::declare_inert(true);  // What it does wakes nobody that does not wait for a descriptor.
    static_cast<uring_poller*>(self)->keep();
    return nullptr;
  }

  void keep() noexcept {
    if (!open()) return;
    for (;;) {
      const auto seen = messages_.load(std::memory_order_acquire);  // Pairs with tell().
      serve();
      if (stop_.load(std::memory_order_relaxed)) break;
      os::futex_wait(messages_, seen);
    }
    ::io_uring_queue_exit(&ring_);
  }

  bool open() noexcept {
    const int error = open_ring(ring_);
    opened_.store(static_cast<std::uint32_t>(-error), std::memory_order_release);  // Pairs with the constructor.
    os::futex_wake(opened_, 1);
    return error == 0;
  }

  void serve() noexcept {
    std::array<message, submissions> to_arm;
    std::size_t count = 0;
    for (message m; next(m);) {
      if (m.wanted) to_arm[count++] = m;
      if (count == submissions || !m.wanted) arm(to_arm.data(), std::exchange(count, 0));
      if (!m.wanted) let_go(m);
    }
    arm(to_arm.data(), count);
  }

  void arm(const message* m, std::size_t count) noexcept {
    if (count == 0) return;
    for (std::size_t i = 0; i < count; ++i) {
      auto* s = ::io_uring_get_sqe(&ring_);
      ::io_uring_prep_poll_multishot(s, m[i].fd, awaited_events);
      ::io_uring_sqe_set_data64(s, m[i].tag());
    }
    // What the kernel has no memory for now it may have a moment later.
    while (::io_uring_sq_ready(&ring_) > 0)
      if (::io_uring_submit(&ring_) <= 0) os::yield_thread();
  }

  void let_go(const message& m) noexcept {
    while (cancel(ring_, m.tag()) != -ENOENT) {
    }
    auto& gone = m.watch->at_poller().gone;
    gone.store(1, std::memory_order_release);  // Pairs with forget(). The watch itself is never freed.
    os::futex_wake(gone, 1);
  }

  static constexpr std::uint32_t not_yet = UINT32_MAX;

  const pid_t process_ = ::getpid();
  io_uring ring_{};
  pthread_t keeper_{};
  detail::atomic<std::uint32_t> opened_{not_yet};  // Then 0 or an errno value.
  std::atomic<std::size_t> watched_{0};
  std::atomic<bool> woken_{false};  // A wake-up is in the ring, or about to be.
  std::atomic<bool> stop_{false};
  detail::atomic<std::uint32_t> messages_{0};  // Counts them; what the keeper sleeps on.

  detail::spinlock lock_;
  sched::fd_watch* first_ = nullptr;  // Of the messages. Under lock_.
  sched::fd_watch* last_ = nullptr;
};

}  // namespace

const char* uring_obstacle() noexcept {
  const char* found = nullptr;
  pthread_t prober;
  // For the reason for which keepers open rings.
  const auto probe = [](void* result) -> void* {
    *static_cast<const char**>(result) = probe_ring();
    return nullptr;
  };
  if (os::start_thread(prober, probe, &found) != 0) return "there is no thread to be had for it";
  os::join_thread(prober);
  return found;
}

std::unique_ptr<sched::poller> make_uring_poller() { return std::make_unique<uring_poller>(); }

}  // namespace thrum::io
