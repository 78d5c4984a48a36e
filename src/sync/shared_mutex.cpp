// The shared mutex.
//
// The word:
//   written    a writer holds it
//   awaited    the queue is not empty
//   competing  somebody has been woken to compete and has not tried yet: leaving it free need not wake another
//   queueing   somebody starves, or a task waits to write: who comes must queue, and the next time that the mutex is
//              left free it is handed over to the head of the queue
//   the rest   counts readers, and for a moment those who come to read and find that they must not
// All but `written` and the count change only under the queue's lock. Who leaves the mutex free while somebody waits
// does so under that lock too, and then wakes or hands over; so does the next owner before it may destroy the mutex.
//
// The head is woken, if it is a reader together with the readers behind it, and competes with whoever comes: running
// fibers need not wait until a parked one has got its turn. A lost wake-up would need a mutex that is free, with a
// queue, and nobody competing. But waiters announce themselves by a compare-and-swap on a word that shows why they
// wait; who ends that finds the announcement.
//
// Whoever has waited for a millisecond and has lost several times starves. Time alone does not tell: of a thousand
// fibers each waits longer than that for its turn to run, and the mutex would be handed over, to fibers that do not run
// either, most of the time.
//
// Readers that overlap may never leave the mutex free. So a fiber or thread that waits to write looks again after a
// millisecond, and soon announces that it starves. (Just then it cannot be woken, and who is behind it may be served
// first.) A task cannot look again: it is resumed once, as the owner. So it gets the mutex handed over, and when it is
// to write all who come queue behind it.
//
// Rejected: handing over always, in FIFO order. Everybody queues behind a writer that is runnable but does not run, and
// from then on each of a thousand fibers parks in each of its turns.
#include <thrum/shared_mutex.hpp>

#include <mutex>

#include "base/assert.hpp"
#include "sched/sizes.hpp"
#include "sched/task_wait.hpp"
#include "sync/compete.hpp"

namespace thrum {
namespace {

constexpr std::uint64_t written = 1, awaited = 2, competing = 4, queueing = 8, reader = 16;

// What a node's slot says: who waits to write has starved, or is a task, or will look again after a millisecond.
char reads, writes, must_write;

bool is_reader(const sched::wait_node& n) noexcept { return n.slot == &reads; }

bool is_free_for(bool writing, std::uint64_t w) noexcept {
  return writing ? w < reader && !(w & written) : !(w & written);
}
// Held by nobody; leaving it so is for who tells others.
bool left_to_others(std::uint64_t w) noexcept {
  return is_free_for(true, w) && (w & awaited) && (w & (competing | queueing)) != competing;
}

}  // namespace

struct shared_mutex::waited_for {
  static const sched::waiter* writer_of(const void* m) noexcept {
    return static_cast<const shared_mutex*>(m)->writer_.load(std::memory_order_relaxed);
  }
  static const char* could_go_on(const void* m, const sched::waiter&) noexcept {
    const auto w = static_cast<const shared_mutex*>(m)->word_.load(std::memory_order_relaxed);
    return is_free_for(true, w) ? "which is free" : nullptr;
  }
  static constexpr sched::wait_kind kind{
      .what = "a shared mutex", .holder = &writer_of, .is_lock = true, .could_go_on = &could_go_on};
};

shared_mutex::~shared_mutex() {
  // Who unlocks may still hold the queue's lock: wait for it, so that the next owner may destroy the mutex.
  std::lock_guard held(queue_.lock);
  if (!is_free_for(true, word_.load(std::memory_order_relaxed)))
    base::panic("a shared_mutex is destroyed while it is locked");
}

// Acquire pairs with the release of whoever held it.
bool shared_mutex::take(bool writing, const sched::waiter* self) noexcept {
  queue_.lock.touch();
  auto w = word_.load(std::memory_order_relaxed);
  while (is_free_for(writing, w) && !(w & queueing)) {
    if (!word_.compare_exchange_weak(w, w + (writing ? written : reader), std::memory_order_acquire,
                                     std::memory_order_relaxed))
      continue;
    if (writing) writer_.store(self, std::memory_order_relaxed);
    return true;
  }
  return false;
}

bool shared_mutex::try_lock() noexcept { return take(true, &sched::current_waiter()); }
bool shared_mutex::try_lock_shared() noexcept { return take(false, nullptr); }

void shared_mutex::lock() {
  if (!take(true, sched::begin_call().who)) lock_slow(true);
}
void shared_mutex::lock_shared() {
  sched::begin_call();
  if (!join_readers()) lock_slow(false);
}

// By an addition, which among many readers never has to be tried again. Who finds that the mutex is not for readers now
// has been counted all the same, and leaves as a reader does.
bool shared_mutex::join_readers() noexcept {
  queue_.lock.touch();
  auto w = word_.fetch_add(reader, std::memory_order_acquire) + reader;
  while (w & (written | queueing)) {
    if (left_to_others(w - reader)) {
      unlock_slow(reader);
      return false;
    }
    if (word_.compare_exchange_weak(w, w - reader, std::memory_order_relaxed, std::memory_order_acquire)) return false;
  }
  return true;
}

void shared_mutex::lock_slow(bool writing) {
  const auto& self = sched::current_waiter();
  if (writer_.load(std::memory_order_relaxed) == &self) base::panic("a shared_mutex is locked by its owner again");
  sched::wait_node node(sched::current_waiter());
  node.slot = writing ? &writes : &reads;
  const auto since_ns = sched::now_ns();
  std::uint64_t marks = 0;
  int losses = 0;
  for (bool waited = false;; waited = true) {
    sched::waiting w(sched::cancellation::none);
    sched::runnable_batch batch;
    bool taken;
    {
      std::lock_guard held(queue_.lock);
      taken = take_or_announce(writing, marks, self);
      if (taken) {
        if (node.linked) remove(queue_.waiters, node);
        if (waited && !writing) {  // Others may have come when we had been woken, but had not yet run.
          wake_readers(false, batch);
          look_at_head();
        }
      } else {
        w.open();
        node.code = compete;
        if (writing && (marks & queueing)) node.slot = &must_write;
        // Who has waited before keeps its place, or comes to the head.
        if (!waited)
          push_back(queue_.waiters, node);
        else if (!node.linked)
          push_front(queue_.waiters, node);
      }
    }
    if (taken) return make_runnable(batch);
    const auto deadline_ns = node.slot == &writes ? since_ns + starving_after_ns : sched::never;
    const auto code = w.park(deadline_ns, {&waited_for::kind, this});
    if (code == handed_over) return;
    marks = code == compete ? competing : 0;
    if (++losses >= sched::sizes::losses_of_who_starves && sched::now_ns() - since_ns >= starving_after_ns)
      marks |= queueing;
  }
}

// Under the queue's lock. True: taken. False: the word says that we wait. `marks`: `competing` if we were,
// `queueing` if we starve; with either we have waited, and are before those who come.
bool shared_mutex::take_or_announce(bool writing, std::uint64_t marks, const sched::waiter& self) noexcept {
  auto w = word_.load(std::memory_order_relaxed);
  for (;;) {
    const auto rest = w & ~(marks & competing);
    const bool free = is_free_for(writing, w) && (marks || !(w & queueing));
    const auto next = free ? rest + (writing ? written : reader) : rest | awaited | (marks & queueing);
    if (!word_.compare_exchange_weak(w, next, std::memory_order_acquire, std::memory_order_relaxed)) continue;
    if (free && writing) writer_.store(&self, std::memory_order_relaxed);
    return free;
  }
}

bool shared_mutex::begin_wait(detail::async_wait& w, bool writing) {
  auto& self = sched::begin_task_call(sched::cancellation::none);
  if (take(writing, &self)) return sched::go_on();
  if (writer_.load(std::memory_order_relaxed) == &self) base::panic("a shared_mutex is locked by its owner again");
  {
    std::lock_guard held(queue_.lock);
    if (!take_or_announce(writing, 0, self)) {
      enqueue(self, w, queue_, sched::cancellation::none, writing ? &must_write : &reads);
      if (writing) word_.fetch_or(queueing, std::memory_order_relaxed);
    }
  }
  if (w.at == detail::async_wait::state::satisfied) return sched::go_on();
  park_task(self, {&waited_for::kind, this}, sched::never, nullptr);
  return false;
}

void shared_mutex::unlock() noexcept {
  queue_.lock.touch();
  const auto* self = &sched::current_waiter();
  auto w = word_.load(std::memory_order_relaxed);
  if (!(w & written)) base::panic("unlock of a shared_mutex that is not locked for writing");
  if (writer_.load(std::memory_order_relaxed) != self)
    base::panic("unlock of a shared_mutex that another fiber or thread holds");
  writer_.store(nullptr, std::memory_order_relaxed);
  do {
    if (left_to_others(w - written)) return unlock_slow(written);
  } while (!word_.compare_exchange_weak(w, w - written, std::memory_order_release, std::memory_order_relaxed));
}

void shared_mutex::unlock_shared() noexcept {
  queue_.lock.touch();
  auto w = word_.load(std::memory_order_relaxed);
  do {
    if (w < reader) base::panic("unlock of a shared_mutex that is not locked for reading");
    if (left_to_others(w - reader)) return unlock_slow(reader);
  } while (!word_.compare_exchange_weak(w, w - reader, std::memory_order_release, std::memory_order_relaxed));
}

void shared_mutex::unlock_slow(std::uint64_t share) noexcept {
  sched::runnable_batch batch;
  {
    std::lock_guard held(queue_.lock);
    // Acquire, as below: who is claimed as an owner must see what all holders before it have written.
    word_.fetch_sub(share, std::memory_order_acq_rel);
    wake_next(batch);
  }
  make_runnable(batch);
}

// Under the queue's lock. If the mutex has been taken meanwhile, who holds it now will come here.
void shared_mutex::wake_next(sched::runnable_batch& out) noexcept {
  auto& waiters = queue_.waiters;
  const bool starved = word_.load(std::memory_order_relaxed) & queueing;
  bool woke = false;
  while (!woke && waiters.first && left_to_others(word_.load(std::memory_order_relaxed)))
    woke = is_reader(*waiters.first) ? wake_readers(starved, out) : wake_writer(starved, out);
  if (woke && starved) word_.fetch_and(~queueing, std::memory_order_relaxed);  // Any other one will say so, or has.
  look_at_head();
}

// Under the queue's lock, after its head has changed.
void shared_mutex::look_at_head() noexcept {
  const sched::wait_node* head = queue_.waiters.first;
  if (!head)
    word_.fetch_and(~(awaited | queueing), std::memory_order_relaxed);
  else if (head->slot == &must_write)
    word_.fetch_or(queueing, std::memory_order_relaxed);
}

// Under the queue's lock, with a writer at the head. False: it has stopped waiting, or another one was faster. The word
// comes before the claim: who is claimed as the owner may unlock at once.
bool shared_mutex::wake_writer(bool starved, sched::runnable_batch& out) noexcept {
  sched::wait_node& n = *queue_.waiters.first;
  auto w = word_.load(std::memory_order_relaxed);
  const bool as_owner = starved || is_task(*n.who);
  if (as_owner) {
    if (!is_free_for(true, w) || !word_.compare_exchange_strong(w, w | written, std::memory_order_acq_rel))
      return false;
    writer_.store(n.who, std::memory_order_relaxed);
    if (!is_task(*n.who)) n.code = handed_over;
  }
  remove(queue_.waiters, n);
  const bool won = claim_waiter(*n.who, n.code, out);
  if (won && !as_owner) word_.fetch_or(competing, std::memory_order_relaxed);
  if (!won && as_owner) {
    writer_.store(nullptr, std::memory_order_relaxed);
    word_.fetch_and(~written, std::memory_order_release);
  }
  return won;
}

// Under the queue's lock: the readers at the head. True: there is nobody else to wake.
bool shared_mutex::wake_readers(bool starved, sched::runnable_batch& out) noexcept {
  while (queue_.waiters.first && is_reader(*queue_.waiters.first)) {
    sched::wait_node& n = *queue_.waiters.first;
    const bool as_owner = starved || is_task(*n.who);
    if (as_owner && !share()) return true;
    if (!as_owner) word_.fetch_or(competing, std::memory_order_relaxed);
    if (starved && !is_task(*n.who)) n.code = handed_over;
    remove(queue_.waiters, n);
    claim_waiter(*n.who, n.code, out);  // Always wins: a reader waits until it is woken.
  }
  return true;
}

// For another reader. False: a writer was faster.
bool shared_mutex::share() noexcept {
  auto w = word_.load(std::memory_order_relaxed);
  while (is_free_for(false, w))
    if (word_.compare_exchange_weak(w, w + reader, std::memory_order_acq_rel, std::memory_order_relaxed)) return true;
  return false;
}

}  // namespace thrum
