// Lookouts, and the table of the descriptors that have some.
#include "interpose/lookout.hpp"

#include <atomic>
#include <cerrno>
#include <climits>
#include <memory>
#include <mutex>
#include <new>
#include <utility>

#include <sys/epoll.h>
#include <unistd.h>

#include <thrum/pin.hpp>

#include "interpose/real.hpp"
#include "sched/scheduler.hpp"

namespace thrum::interpose {

struct lookout {
  int epoll = -1;  // None: its watch tells of the descriptor itself, by fd_watch::watch_once().
  sched::fd_watch* watch = nullptr;
  lookout* previous = nullptr;  // Among those who wait.
  lookout* next = nullptr;
  // Not to be kept: what it looked at has been closed, or it may still be told of it. Guarded while waiting.
  bool spoilt = false;
  unsigned hopeless_looks = 0;  // Attempts that were spared since the last one.

  bool is_direct() const noexcept { return epoll < 0; }
};

struct slot {
  std::atomic<bool> used{false};  // Has ever had a lookout: spares the others the lock.
  detail::spinlock lock;
  lookout* idle[purposes] = {};
  lookout* waiting = nullptr;
  bool has_direct = false;  // One of those who wait is direct; there may be one.
  std::atomic<bool> accepting{false};
};

namespace {

using watch = sched::fd_watch;

constexpr std::size_t chunk_size = 1024;
constexpr std::size_t chunks_max = 4096;

struct chunk {
  slot slots[chunk_size];
};

// Never destroyed: calls come until the process has ended. Chunks are made when a fiber first waits.
constinit std::atomic<chunk*> chunks[chunks_max] = {};
// Whose they are. A child that has not called exec has copies, or with vfork these very ones, and its own descriptors.
constinit std::atomic<pid_t> owner{0};

slot* known_slot(int fd) noexcept {
  const auto n = static_cast<unsigned>(fd);
  if (n / chunk_size >= chunks_max) return nullptr;  // Negative ones too.
  chunk* c = chunks[n / chunk_size].load(std::memory_order_acquire);
  return c ? &c->slots[n % chunk_size] : nullptr;
}

slot* slot_of(int fd) noexcept {
  if (slot* s = known_slot(fd)) return s;
  const auto n = static_cast<unsigned>(fd);
  if (n / chunk_size >= chunks_max) return nullptr;
  auto fresh = std::unique_ptr<chunk>(new (std::nothrow) chunk);
  chunk* none = nullptr;
  owner.store(::getpid(), std::memory_order_relaxed);
  if (fresh && chunks[n / chunk_size].compare_exchange_strong(none, fresh.get(), std::memory_order_acq_rel))
    (void)fresh.release();
  return known_slot(fd);
}

void destroy(lookout* l) noexcept {
  if (l->watch) l->watch->release();
  if (l->epoll >= 0) real::close(l->epoll);
  delete l;
}

// Null: there is no memory, or the runtime's poller cannot do it.
lookout* make_direct() noexcept {
  auto* l = new (std::nothrow) lookout;
  if (!l) return nullptr;
  try {
    l->watch = watch::create_once();
  } catch (const std::bad_alloc&) {
  }
  if (l->watch) return l;
  destroy(l);
  return nullptr;
}

lookout* make_nested() noexcept {
  auto* l = new (std::nothrow) lookout;
  if (!l) return nullptr;
  l->epoll = ::epoll_create1(EPOLL_CLOEXEC);
  if (l->epoll >= 0) {
    try {
      l->watch = watch::create(l->epoll, watch::errors::pass);
    } catch (const std::bad_alloc&) {
    }
  }
  if (l->watch) return l;
  destroy(l);
  return nullptr;
}

int control(const lookout& l, int operation, int fd, std::uint32_t events) noexcept {
  epoll_event e{.events = events | EPOLLET, .data = {.u64 = 0}};
  return ::epoll_ctl(l.epoll, operation, fd, &e) == 0 ? 0 : errno;
}

}  // namespace

patience::patience(const sched::scheduler& home, int fd, purpose p) noexcept
    : fd_(fd), purpose_(p), slot_(known_slot(fd)) {
  if (!slot_) return;
  lookout* stale = nullptr;
  {
    std::lock_guard held(slot_->lock);
    std::swap(lookout_, slot_->idle[static_cast<unsigned>(p)]);
  }
  // Of a runtime that has ended.
  if (lookout_ && !lookout_->watch->belongs_to(home)) std::swap(stale, lookout_);
  if (stale) destroy(stale);
}

patience::~patience() {
  if (!lookout_) return;
  slot* s = slot_of(fd_);
  if (s && !lookout_->spoilt) {
    s->used.store(true, std::memory_order_relaxed);
    std::lock_guard held(s->lock);
    auto& place = s->idle[static_cast<unsigned>(purpose_)];
    if (!place) {
      place = lookout_;
      return;
    }
  }
  destroy(lookout_);
}

void patience::before_attempt() noexcept {
  if (lookout_) before_ = lookout_->watch->word(watch::reading);
}

// Who had to wait the last time will have to wait again, and a direct lookout is told at once if not. Now and then it
// is worth a look.
bool patience::may_spare_attempt() noexcept {
  constexpr unsigned in_a_row = 16;
  if (!lookout_ || !lookout_->is_direct() || lookout_->hopeless_looks >= in_a_row) return false;
  ++lookout_->hopeless_looks;
  return true;
}

void patience::note_hopeless(bool nothing_was_there) noexcept {
  if (lookout_) lookout_->hopeless_looks = nothing_was_there ? 0 : UINT_MAX;
}

bool patience::has_nested() noexcept {
  if (lookout_ && !lookout_->is_direct()) return true;
  if (lookout_) destroy(std::exchange(lookout_, nullptr));
  lookout_ = make_nested();
  before_ = 0;
  return lookout_ != nullptr;
}

// Among those who wait for the descriptor. False: one of them has the direct place.
bool patience::enlist(slot& s) noexcept {
  std::lock_guard held(s.lock);
  if (lookout_->is_direct()) {
    if (s.has_direct) return false;
    s.has_direct = true;
  }
  lookout_->next = s.waiting;
  if (s.waiting) s.waiting->previous = lookout_;
  s.waiting = lookout_;
  return true;
}

void patience::leave(slot& s) noexcept {
  std::lock_guard held(s.lock);
  if (lookout_->is_direct()) s.has_direct = false;
  (lookout_->previous ? lookout_->previous->next : s.waiting) = lookout_->next;
  if (lookout_->next) lookout_->next->previous = lookout_->previous;
  lookout_->previous = lookout_->next = nullptr;
}

outcome patience::wait(std::int64_t deadline_ns, unsigned events) noexcept {
  slot* s = slot_of(fd_);
  if (!s) return outcome::kernel;
  s->used.store(true, std::memory_order_relaxed);
  told_ = 0;
  if (!lookout_) lookout_ = make_direct();
  if ((!lookout_ || !enlist(*s)) && (!has_nested() || !enlist(*s))) return outcome::kernel;
  const auto result = lookout_->is_direct() ? wait_directly(deadline_ns, events) : wait_nested(deadline_ns, events);
  leave(*s);
  return result;
}

// The mark of an earlier event is taken back before there can be a new one. A wait that ends otherwise leaves one to
// come, and so its watch behind.
outcome patience::wait_directly(std::int64_t deadline_ns, unsigned events) noexcept {
  auto& w = *lookout_->watch;
  w.not_ready(watch::reading, w.word(watch::reading));
  const int error = w.watch_once(fd_, events);
  if (error == EBADF) return outcome::look;  // The next attempt will tell.
  if (error != 0) return outcome::kernel;
  const auto result = park(deadline_ns);
  if (result == outcome::look)
    told_ = w.told();
  else
    lookout_->spoilt = true;
  return result;
}

outcome patience::wait_nested(std::int64_t deadline_ns, unsigned events) noexcept {
  lookout_->watch->not_ready(watch::reading, before_);
  int error = control(*lookout_, EPOLL_CTL_MOD, fd_, events);
  if (error == ENOENT) error = control(*lookout_, EPOLL_CTL_ADD, fd_, events);
  if (error == EBADF) return outcome::look;
  return error == 0 ? park(deadline_ns) : outcome::kernel;
}

outcome patience::park(std::int64_t deadline_ns) noexcept {
  const this_fiber::pin stay;
  switch (sched::wait_for_edge(*lookout_->watch, deadline_ns)) {
    case watch::outcome::ready:
      return outcome::look;
    case watch::outcome::timed_out:
      return outcome::timed_out;
    case watch::outcome::cancelled:
      return outcome::cancelled;
    case watch::outcome::closed:
      break;
  }
  return outcome::closed;
}

// ---------------------------------------------------------------------------------------------------------------
// Several.

bool patience::look_at(const pollfd& one) noexcept {
  if (one.fd < 0) return true;
  if (!has_nested()) return false;
  const auto events = static_cast<std::uint16_t>(one.events);
  int error = control(*lookout_, EPOLL_CTL_ADD, one.fd, events);
  if (error == EEXIST) {  // Named twice: looked at for all that there is.
    lookout_->spoilt = true;
    error = control(*lookout_, EPOLL_CTL_MOD, one.fd, EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP | events);
  }
  return error == 0 || error == EBADF;
}

outcome patience::wait_for_several(std::int64_t deadline_ns) noexcept {
  lookout_->watch->not_ready(watch::reading, before_);
  return park(deadline_ns);
}

void patience::look_away(const pollfd* all, nfds_t n) noexcept {
  if (!lookout_) return;
  for (nfds_t i = 0; i < n && !lookout_->spoilt; ++i)
    if (all[i].fd >= 0 && control(*lookout_, EPOLL_CTL_DEL, all[i].fd, 0) != 0) lookout_->spoilt = true;
}

// ---------------------------------------------------------------------------------------------------------------
// Closing, and turns.

void forget_descriptor(int fd) noexcept {
  slot* s = known_slot(fd);
  if (!s || !s->used.load(std::memory_order_relaxed)) return;
  if (::getpid() != owner.load(std::memory_order_relaxed)) return;
  lookout* idle[purposes] = {};
  {
    std::lock_guard held(s->lock);
    std::swap(idle, s->idle);
    for (lookout* l = s->waiting; l; l = l->next) {
      l->spoilt = true;
      l->watch->close();
    }
  }
  for (lookout* l : idle)
    if (l) destroy(l);
}

accept_turn::accept_turn(int fd) noexcept
    : slot_(slot_of(fd)), mine_(!slot_ || !slot_->accepting.exchange(true, std::memory_order_acquire)) {}

accept_turn::~accept_turn() {
  if (slot_ && mine_) slot_->accepting.store(false, std::memory_order_release);
}

}  // namespace thrum::interpose
