// A descriptor as the poller and its waiters share it: what has been seen, and who waits for more.
//
// Model. The poller reports edges: ready() marks a direction ready and wakes who waits for it. A reader reads first
// and waits only when there is nothing; before it sleeps it must know that no edge has come since it looked, so every
// edge changes the direction's word and not_ready() clears the mark only if the word is unchanged. An end-of-stream
// or error stays latched: such a direction is never waited for again.
//
//   bit 0  ready: an edge has come since somebody last found nothing
//   bit 1  latched: peer closed, hung up or error
//   bits 2..63  number of edges seen
//
// Watches live in a pool and are never freed, because an event that the kernel has already delivered may name one
// after its descriptor has been closed; a generation in the event tells.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include <thrum/detail/atomic.hpp>
#include <thrum/detail/wait_queue.hpp>

#include "sched/seams.hpp"
#include "sched/task_wait.hpp"

namespace thrum::sched {

class scheduler;
class fd_watch;

// As it was found by who is about to wait, or registered with the kernel: once it has become another descriptor's, the
// wait finds its own closed, and an event is void.
struct found_watch {
  fd_watch* watch = nullptr;
  std::uint16_t generation = 0;

  explicit operator bool() const noexcept { return watch != nullptr; }

  // As one word, which user addresses leave 16 bits of. Of a watch, never zero.
  std::uint64_t packed() const noexcept {
    return reinterpret_cast<std::uintptr_t>(watch) | std::uint64_t{generation} << address_bits;
  }
  static found_watch unpacked(std::uint64_t word) noexcept {
    return {reinterpret_cast<fd_watch*>(word & ((std::uint64_t{1} << address_bits) - 1)),
            static_cast<std::uint16_t>(word >> address_bits)};
  }

 private:
  static constexpr int address_bits = 48;
};

// What a poller that registers by messages keeps of a watch; guarded by that poller's lock, but for `gone`.
struct registration {
  fd_watch* next = nullptr;  // In the queue of messages,
  bool queued = false;       // where it is.
  bool wanted = false;       // From watch() to forget().
  std::uint16_t generation = 0;
  int fd = -1;
  detail::atomic<std::uint32_t> gone{0};  // The kernel has let go of the file; forget() sleeps until then.
};

class fd_watch {
 public:
  enum direction : unsigned { reading, writing };
  enum events : unsigned { can_read = 1, can_write = 2, read_ended = 4, ended = 8 };
  // Whether an error is the descriptor's last event, as on a stream. Datagram sockets go on after one.
  enum class errors : bool { end, pass };
  enum class outcome { ready, timed_out, cancelled, closed };

  // A watch on the descriptor by the calling worker's poller. Throws std::bad_alloc; null, with errno set, when the
  // poller cannot watch it.
  static fd_watch* create(int fd, errors e = errors::end);
  // One that watches nothing but by watch_once(). Throws std::bad_alloc; null when the worker's poller cannot do that.
  static fd_watch* create_once();
  void release() noexcept;           // Before the descriptor is closed.
  void raise_generation() noexcept;  // From now on events of the registration are ignored; release() begins with it.

  // The word before an attempt, and what the attempt told: nothing more to get, unless an edge has come since.
  std::uint64_t word(direction d) const noexcept { return sides_[d].word.load(std::memory_order_acquire); }
  static bool may_be_ready(std::uint64_t word) noexcept { return (word & (ready_bit | latched_bit)) != 0; }
  bool may_be_ready(direction d) const noexcept { return may_be_ready(word(d)); }
  static bool hung_up(std::uint64_t word) noexcept { return (word & latched_bit) != 0; }
  void not_ready(direction d, std::uint64_t before) noexcept {
    if ((before & latched_bit) == 0)
      sides_[d].word.compare_exchange_strong(before, before & ~ready_bit, std::memory_order_acq_rel);
  }

  // In a call that has begun: waits for the next edge unless one is marked. Does not throw on cancellation: reports it.
  outcome wait(const begun_call& call, direction d, std::int64_t deadline_ns, std::uint16_t generation) noexcept;
  // The same for tasks. begin: true when there is an outcome at once.
  bool begin_wait(direction d, detail::async_wait& w, detail::async_timer& timer, std::int64_t deadline_ns,
                  std::uint16_t generation, outcome& at_once);
  outcome end_wait(direction d, detail::async_wait& w, detail::async_timer& timer);

  // For select: where to wait, and whether one has to, under that queue's lock; asked with a found_watch's word.
  detail::wait_queue& queue(direction d) noexcept;
  static bool readable_or_closed(const void* found) noexcept;
  static bool writable_or_closed(const void* found) noexcept;

  // The descriptor is about to be closed: whoever waits gets outcome::closed.
  void close() noexcept;

  // Of one that create_once() made. Has the poller tell of these events (poll(2)'s bits) from now on, once, as an edge
  // in the reading direction; what it told stands in told(). A wait that ends otherwise leaves it to come: only
  // release() makes it void. Returns 0 or an errno value.
  int watch_once(int fd, unsigned events) noexcept { return poller_->watch_once(fd, *this, events); }
  unsigned told() const noexcept { return told_.load(std::memory_order_relaxed); }

  // The poller.
  void ready_once(unsigned events, std::uint16_t generation, runnable_batch& out) noexcept;
  void ready(unsigned events, std::uint16_t generation, runnable_batch& out) noexcept;
  std::uint16_t generation() const noexcept { return generation_.load(std::memory_order_acquire); }

  registration& at_poller() noexcept { return at_poller_; }

  bool belongs_to(const scheduler& s) const noexcept;

 private:
  struct waited_for;

  static fd_watch* from_pool();
  static fd_watch* fresh(errors e);

  static constexpr std::uint64_t ready_bit = 1, latched_bit = 2, edge = 4;
  static constexpr claim_code closed_code = clause_code(1);

  struct side {
    detail::atomic<std::uint64_t> word{0};
    detail::wait_queue queue;
  };

  bool has_outcome(direction d, std::uint16_t generation, outcome& o) const noexcept;
  void ready_on(side& s, bool last, std::uint16_t generation, runnable_batch& out) noexcept;
  static bool counted(side& s) noexcept;
  void edge_seen(side& s, bool ended, runnable_batch& out) noexcept;
  void wake_all(side& s, std::uint32_t offset, runnable_batch& out) noexcept;

  side sides_[2];
  detail::atomic<std::uint16_t> generation_{0};
  detail::atomic<bool> closed_{false};
  errors errors_ = errors::end;                // Written by create(), read with the generation's consent.
  std::atomic<std::uint64_t> home_serial_{0};  // It may be asked while it becomes another's.
  std::shared_ptr<poller> poller_;
  std::atomic<unsigned> told_{0};  // Under the reading side's lock; read by who was woken for it.
  registration at_poller_;
  fd_watch* next_free_ = nullptr;
};

}  // namespace thrum::sched
