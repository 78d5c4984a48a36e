// Waiting for edges, and the pool of watches.
#include "sched/fd_watch.hpp"

#include <cerrno>
#include <memory>
#include <mutex>
#include <vector>

#include "sched/scheduler.hpp"

namespace thrum::sched {
namespace {

constexpr std::size_t chunk = 64;

struct watch_pool {
  detail::spinlock lock;
  fd_watch* free = nullptr;
  std::vector<std::unique_ptr<fd_watch[]>> chunks;
};

// Process-wide and never destroyed: see the header.
watch_pool& watches() {
  static auto* p = new watch_pool;
  return *p;
}

}  // namespace

// How its waits are told. The object is the watch, which is no name for anybody; its descriptor's number may be
// another's by the time of a report.
struct fd_watch::waited_for {
  template <direction D>
  static const char* could_go_on(const void* watch, const waiter&) noexcept {
    auto& w = *static_cast<fd_watch*>(const_cast<void*>(watch));
    std::lock_guard held(w.sides_[D].queue.lock);
    if (w.closed_.load(std::memory_order_relaxed)) return "which has been closed";
    return w.may_be_ready(D) ? "which it is" : nullptr;
  }
  static constexpr wait_kind kinds[] = {{.what = "a descriptor to become readable",
                                         .external = true,
                                         .could_go_on = &could_go_on<reading>,
                                         .shown = &wait_kind::nothing},
                                        {.what = "a descriptor to become writable",
                                         .external = true,
                                         .could_go_on = &could_go_on<writing>,
                                         .shown = &wait_kind::nothing}};
};

fd_watch* fd_watch::from_pool() {
  auto& all = watches();
  fd_watch* w;
  {
    std::lock_guard held(all.lock);
    if (!all.free) {
      all.chunks.push_back(std::make_unique<fd_watch[]>(chunk));
      for (std::size_t i = 0; i < chunk; ++i) {
        auto& fresh = all.chunks.back()[i];
        fresh.next_free_ = all.free;
        all.free = &fresh;
      }
    }
    w = all.free;
    all.free = w->next_free_;
  }
  return w;
}

// At the poller of the processor that the calling worker has.
fd_watch* fd_watch::fresh(errors e) {
  fd_watch* w = from_pool();
  w->errors_ = e;
  runtime_section inside;
  processor& p = inside.w->p ? *inside.w->p : inside.w->home.processor_at(0);
  w->home_serial_.store(p.home.serial(), std::memory_order_relaxed);
  w->poller_ = p.poll;
  w->closed_.store(false, std::memory_order_relaxed);
  // Registering reports at once whether there is something to read; writing is possible until an attempt has failed.
  w->sides_[reading].word.store(0, std::memory_order_release);
  w->sides_[writing].word.store(ready_bit, std::memory_order_release);
  return w;
}

fd_watch* fd_watch::create_once() {
  fd_watch* w = fresh(errors::pass);
  if (w->poller_->adopt(*w)) return w;
  w->poller_.reset();
  w->release();
  return nullptr;
}

fd_watch* fd_watch::create(int fd, errors e) {
  fd_watch* w = fresh(e);
  const int error = w->poller_->watch(fd, *w);
  if (error == 0) return w;
  w->poller_.reset();
  w->release();
  errno = error;
  return nullptr;
}

// Under both locks, so that an event with the old generation is either delivered before or ignored.
void fd_watch::raise_generation() noexcept {
  for (auto& s : sides_) s.queue.lock.lock();
  generation_.fetch_add(1, std::memory_order_acq_rel);
  for (auto& s : sides_) s.queue.lock.unlock();
}

void fd_watch::release() noexcept {
  raise_generation();
  if (poller_) poller_->forget(*this);
  poller_.reset();
  auto& all = watches();
  std::lock_guard held(all.lock);
  next_free_ = all.free;
  all.free = this;
}

bool fd_watch::belongs_to(const scheduler& s) const noexcept {
  return home_serial_.load(std::memory_order_relaxed) == s.serial();
}

fd_watch::outcome fd_watch::wait(const begun_call& call, direction d, std::int64_t deadline_ns,
                                 std::uint16_t generation) noexcept {
  waiting w(call, cancellation::reported);
  side& s = sides_[d];
  outcome at_once;
  s.queue.lock.lock();
  if (has_outcome(d, generation, at_once)) {
    s.queue.lock.unlock();
    return at_once;
  }
  wait_node node(w);
  w.open();
  push_back(s.queue.waiters, node);
  s.queue.lock.unlock();
  const auto code = w.park(deadline_ns, {&waited_for::kinds[d], this});
  if (code == claim_code::first_clause) return outcome::ready;
  if (code == closed_code) return outcome::closed;
  withdraw(s.queue, node);
  return code == claim_code::cancelled ? outcome::cancelled : outcome::timed_out;
}

// Under the side's lock.
bool fd_watch::has_outcome(direction d, std::uint16_t generation, outcome& o) const noexcept {
  const bool gone =
      closed_.load(std::memory_order_relaxed) || generation_.load(std::memory_order_relaxed) != generation;
  o = gone ? outcome::closed : outcome::ready;
  return gone || may_be_ready(d);
}

bool fd_watch::begin_wait(direction d, detail::async_wait& w, detail::async_timer& timer, std::int64_t deadline_ns,
                          std::uint16_t generation, outcome& at_once) {
  auto& self = begin_task_call(cancellation::reported);
  if (self.cancel_pending.load(std::memory_order_acquire)) {
    at_once = outcome::cancelled;
    return true;
  }
  return sched::begin_wait(
      w, &timer, sides_[d].queue, [&] { return has_outcome(d, generation, at_once); }, deadline_ns,
      {&waited_for::kinds[d], this}, cancellation::reported);
}

fd_watch::outcome fd_watch::end_wait(direction d, detail::async_wait& w, detail::async_timer& timer) {
  const auto code = end_parking(&timer);
  if (code == claim_code::first_clause) return outcome::ready;
  if (code == closed_code) return outcome::closed;
  withdraw(sides_[d].queue, node_in(w.node));
  return code == claim_code::cancelled ? outcome::cancelled : outcome::timed_out;
}

void fd_watch::close() noexcept {
  runnable_batch batch;
  closed_.store(true, std::memory_order_release);
  for (auto& s : sides_) {
    std::lock_guard held(s.queue.lock);
    wake_all(s, 1, batch);
  }
  make_runnable(batch);
}

void fd_watch::ready_once(unsigned events, std::uint16_t generation, runnable_batch& out) noexcept {
  side& s = sides_[reading];
  std::lock_guard held(s.queue.lock);
  if (generation_.load(std::memory_order_relaxed) != generation) return;
  told_.store(events, std::memory_order_relaxed);
  edge_seen(s, false, out);
}

void fd_watch::ready(unsigned events, std::uint16_t generation, runnable_batch& out) noexcept {
  if (events & (can_read | read_ended | ended))
    ready_on(sides_[reading], (events & (read_ended | ended)) != 0, generation, out);
  if (events & (can_write | ended)) ready_on(sides_[writing], (events & ended) != 0, generation, out);
}

inline void fd_watch::ready_on(side& s, bool last, std::uint16_t generation, runnable_batch& out) noexcept {
  if (!last && counted(s)) return;
  std::lock_guard held(s.queue.lock);
  if (generation_.load(std::memory_order_relaxed) != generation) return;
  edge_seen(s, last && errors_ == errors::end, out);
}

// An edge in a direction that is marked already needs no lock: nobody waits there, since under the lock who waits has
// found the mark cleared, and whoever sets it wakes them before giving the lock back. Only the count changes, for who
// has looked before the edge and is about to clear the mark. An event of an old generation may come here too: that
// costs the present one an attempt too many at most. Each request's event says "writable" beside "readable".
bool fd_watch::counted(side& s) noexcept {
  auto w = s.word.load(std::memory_order_relaxed);
  while (w & ready_bit)
    if (s.word.compare_exchange_weak(w, w + edge, std::memory_order_acq_rel, std::memory_order_relaxed)) return true;
  return false;
}

void fd_watch::edge_seen(side& s, bool last, runnable_batch& out) noexcept {
  auto w = s.word.load(std::memory_order_relaxed);
  while (
      !s.word.compare_exchange_weak(w, (w + edge) | ready_bit | (last ? latched_bit : 0), std::memory_order_acq_rel)) {
  }
  wake_all(s, 0, out);
}

// Everybody: two readers of one descriptor both look again. A node's code tells readiness, the next one that it was
// closed.
void fd_watch::wake_all(side& s, std::uint32_t offset, runnable_batch& out) noexcept {
  while (wait_node* n = s.queue.waiters.first) {
    remove(s.queue.waiters, *n);
    claim_waiter(*n->who, static_cast<claim_code>(static_cast<std::uint32_t>(n->code) + offset), out);
  }
}

detail::wait_queue& fd_watch::queue(direction d) noexcept { return sides_[d].queue; }
bool fd_watch::readable_or_closed(const void* found) noexcept {
  const auto f = found_watch::unpacked(reinterpret_cast<std::uintptr_t>(found));
  outcome o;
  return f.watch->has_outcome(reading, f.generation, o);
}
bool fd_watch::writable_or_closed(const void* found) noexcept {
  const auto f = found_watch::unpacked(reinterpret_cast<std::uintptr_t>(found));
  outcome o;
  return f.watch->has_outcome(writing, f.generation, o);
}

}  // namespace thrum::sched
