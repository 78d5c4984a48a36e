// The shared mutex.
//
// The word: bit 0 says that a writer holds it, bit 1 that the queue is not empty, the rest counts readers. While bit 1
// is set the fast paths that take the lock fail, and whoever leaves it free takes the queue's lock and hands it over:
// to the writer at the head, or to all readers up to the next writer. Bit 1 changes under the queue's lock, and then by
// compare-and-swap where readers may leave at the same time.
#include <thrum/shared_mutex.hpp>

#include <mutex>

#include "base/assert.hpp"
#include "sched/task_wait.hpp"

namespace thrum {
namespace {

constexpr std::uint64_t written = 1, awaited = 2, reader = 4;

// What a node's slot says.
char reads, writes;

const sched::waiter* writer_of(const void* writer) noexcept {
  return static_cast<const std::atomic<const sched::waiter*>*>(writer)->load(std::memory_order_relaxed);
}

constexpr sched::wait_kind awaited_shared_mutex{"a shared mutex", &writer_of};

}  // namespace

shared_mutex::~shared_mutex() {
  // Who unlocks may still hold the queue's lock: wait for it, so that the next owner may destroy the mutex.
  std::lock_guard held(queue_.lock);
  if (word_.load(std::memory_order_relaxed) != 0) base::panic("a shared_mutex is destroyed while it is locked");
}

bool shared_mutex::try_lock() noexcept {
  std::uint64_t free = 0;
  // Acquire pairs with the release of whoever held it.
  if (!word_.compare_exchange_strong(free, written, std::memory_order_acquire, std::memory_order_relaxed)) return false;
  writer_.store(&sched::current_waiter(), std::memory_order_relaxed);
  return true;
}

bool shared_mutex::try_lock_shared() noexcept {
  auto w = word_.load(std::memory_order_relaxed);
  while ((w & (written | awaited)) == 0)
    if (word_.compare_exchange_weak(w, w + reader, std::memory_order_acquire, std::memory_order_relaxed)) return true;
  return false;
}

void shared_mutex::lock() {
  const auto* self = sched::begin_call().who;
  if (try_lock()) return;
  if (writer_.load(std::memory_order_relaxed) == self) base::panic("a shared_mutex is locked by its owner again");
  wait(true);
}

void shared_mutex::lock_shared() {
  const auto* self = sched::begin_call().who;
  if (try_lock_shared()) return;
  if (writer_.load(std::memory_order_relaxed) == self) base::panic("a shared_mutex is locked by its owner again");
  wait(false);
}

// Under the queue's lock. True: taken. False: the word says that we wait.
bool shared_mutex::take_or_announce(bool writing) noexcept {
  auto w = word_.load(std::memory_order_relaxed);
  for (;;) {
    const bool free = writing ? w == 0 : (w & (written | awaited)) == 0;
    const auto next = free ? w + (writing ? written : reader) : w | awaited;
    if (word_.compare_exchange_weak(w, next, std::memory_order_acquire, std::memory_order_relaxed)) return free;
  }
}

void shared_mutex::wait(bool writing) {
  sched::waiting w(sched::cancellation::none);
  sched::wait_node node(w, writing ? &writes : &reads);
  {
    std::lock_guard held(queue_.lock);
    if (take_or_announce(writing)) {
      if (writing) writer_.store(&w.self(), std::memory_order_relaxed);
      return;
    }
    w.open();
    push_back(queue_.waiters, node);
  }
  w.park(sched::never, {&awaited_shared_mutex, &writer_});
}

bool shared_mutex::begin_wait(detail::async_wait& w, bool writing) {
  auto& self = sched::begin_task_call(sched::cancellation::none);
  if (writing ? try_lock() : try_lock_shared()) return sched::go_on(self);
  if (writer_.load(std::memory_order_relaxed) == &self) base::panic("a shared_mutex is locked by its owner again");
  {
    std::lock_guard held(queue_.lock);
    if (!take_or_announce(writing))
      enqueue(self, w, queue_, sched::cancellation::none, writing ? &writes : &reads);
    else if (writing)
      writer_.store(&self, std::memory_order_relaxed);
  }
  if (w.at == detail::async_wait::state::satisfied) return sched::go_on(self);
  park_task(self, {&awaited_shared_mutex, &writer_}, sched::never, nullptr);
  return false;
}

// Nobody holds the mutex, nobody else can take it, and somebody waits. The word comes first: who is claimed may unlock
// at once.
void shared_mutex::hand_over() noexcept {
  sched::runnable_batch batch;
  {
    std::lock_guard held(queue_.lock);
    const bool writing = queue_.waiters.first->slot == &writes;
    const sched::wait_node* rest = queue_.waiters.first;
    std::uint64_t next = 0;
    if (writing) {
      writer_.store(rest->who, std::memory_order_relaxed);
      next = written;
      rest = rest->next;
    } else {
      for (; rest && rest->slot == &reads; rest = rest->next) next += reader;
    }
    word_.store(next | (rest ? awaited : 0), std::memory_order_release);
    while (queue_.waiters.first != rest) {
      auto& first = *queue_.waiters.first;
      remove(queue_.waiters, first);
      claim_waiter(*first.who, first.code, batch);  // Always wins: nobody leaves this queue by himself.
    }
  }
  make_runnable(batch);
}

void shared_mutex::unlock() noexcept {
  auto w = word_.load(std::memory_order_relaxed);
  if (!(w & written)) base::panic("unlock of a shared_mutex that is not locked for writing");
  if (writer_.load(std::memory_order_relaxed) != &sched::current_waiter())
    base::panic("unlock of a shared_mutex that another fiber or thread holds");
  writer_.store(nullptr, std::memory_order_relaxed);
  w = written;
  if (!word_.compare_exchange_strong(w, 0, std::memory_order_release, std::memory_order_relaxed)) hand_over();
}

void shared_mutex::unlock_shared() noexcept {
  auto w = word_.load(std::memory_order_relaxed);
  do {
    if (w < reader) base::panic("unlock of a shared_mutex that is not locked for reading");
  } while (!word_.compare_exchange_weak(w, w - reader, std::memory_order_acq_rel, std::memory_order_relaxed));
  if (w - reader == awaited) hand_over();
}

}  // namespace thrum
