// Sets of signals: a handler for threads that do not block them, a descriptor for when all do, and a thread that
// delivers.
//
// The handler notes the signal in a word and wakes the thread; it touches nothing else. The thread also reads a
// signalfd, which gets what no other thread would take: that of a process in which every thread blocks the signal. It
// then sends to the channels of all sets that have it. So receivers wait as for any channel, and a channel's tests are
// this one's tests.
//
// Rejected: a signalfd alone, which a signal passes by as long as one thread does not block it; and sets with
// descriptors of their own, where whoever loses the race for a signal would find its select fired for nothing.
#include <thrum/signal_set.hpp>

#include <array>
#include <bit>
#include <cerrno>
#include <csignal>
#include <mutex>
#include <vector>

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <thrum/detail/spinlock.hpp>

#include "os/thread.hpp"
#include "process/pipe_calls.hpp"

namespace thrum::detail {
namespace {

constexpr int signals_max = 64;

constexpr std::uint64_t bit_of(int signal) noexcept { return std::uint64_t{1} << (signal - 1); }

// Shared with the handler.
std::atomic<std::uint64_t> noted{0};  // Set with release by the handler, taken with acquire by the thread.
// wake_up_at and in_handler are seq_cst: the handler enters and then reads the descriptor; who closes it takes it away
// and then waits until nobody is inside. With less, both could miss the other, and a closed descriptor be written to.
std::atomic<int> wake_up_at{-1};
std::atomic<int> in_handler{0};

void poke(int eventfd) noexcept {
  const std::uint64_t one = 1;
  if (::write(eventfd, &one, sizeof one) < 0) return;  // It is full, so its reader will wake.
}

void on_signal(int signal) {
  const int saved = errno;
  in_handler.fetch_add(1, std::memory_order_seq_cst);
  noted.fetch_or(bit_of(signal), std::memory_order_release);
  const int fd = wake_up_at.load(std::memory_order_seq_cst);
  if (fd >= 0) poke(fd);
  in_handler.fetch_sub(1, std::memory_order_seq_cst);
  errno = saved;
}

// The thread that delivers, and its descriptors. It deletes itself, under the registry's lock.
struct deliverer {
  deliverer() : wakeup(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), blocked_everywhere(open_signalfd()) {}
  ~deliverer() {
    if (wakeup >= 0) ::close(wakeup);
    if (blocked_everywhere >= 0) ::close(blocked_everywhere);
  }
  deliverer(const deliverer&) = delete;
  deliverer& operator=(const deliverer&) = delete;

  static int open_signalfd() noexcept {
    sigset_t none;
    sigemptyset(&none);
    return ::signalfd(-1, &none, SFD_CLOEXEC | SFD_NONBLOCK);
  }
  void read_also(const sigset_t& signals) const noexcept {
    // Not by signalfd(), which ThreadSanitizer takes for the making of another descriptor.
    ::syscall(SYS_signalfd4, blocked_everywhere, &signals, signals_max / 8, 0);
  }
  void serve();
  std::uint64_t wait() const noexcept;

  const int wakeup, blocked_everywhere;
  std::atomic<bool> stopped{false};  // Stored with release before the wake-up, read with acquire after it.
};

class signal_registry {
 public:
  static signal_registry& the() {
    static auto& r = *new signal_registry;  // Never destroyed: signals may arrive at any time.
    return r;
  }

  void add(std::shared_ptr<signal_source> s, std::error_code& error);
  bool remove(const signal_source& s) noexcept;  // False: it was removed before.
  void collect(std::uint64_t signals, std::vector<std::shared_ptr<signal_source>>& out);

 private:
  static void* main_of(void* d) {
    os::name_thread("thrum-signals");
    static_cast<deliverer*>(d)->serve();
    std::lock_guard held(the().lock_);  // Who stops it wakes it, and must have done that.
    delete static_cast<deliverer*>(d);
    return nullptr;
  }

  // With the lock held.
  void start(std::error_code& error);
  void stop() noexcept;
  void install(int signal) noexcept;
  void restore(int signal) noexcept;
  void read_also() noexcept;

  spinlock lock_;  // Guards the rest.
  std::vector<std::shared_ptr<signal_source>> sets_;
  std::array<unsigned, signals_max + 1> users_{};
  std::array<struct sigaction, signals_max + 1> before_{};
  deliverer* deliverer_ = nullptr;
};

template <class F>
void for_each_signal(std::uint64_t mask, F f) {
  for (; mask != 0; mask &= mask - 1) f(std::countr_zero(mask) + 1);
}

void signal_registry::add(std::shared_ptr<signal_source> s, std::error_code& error) {
  const auto mask = s->mask;
  std::lock_guard held(lock_);
  sets_.reserve(sets_.size() + 1);
  if (!deliverer_) start(error);
  if (error) return;
  sets_.push_back(std::move(s));
  for_each_signal(mask, [this](int n) {
    if (users_[n]++ == 0) install(n);
  });
  read_also();
}

bool signal_registry::remove(const signal_source& s) noexcept {
  std::lock_guard held(lock_);
  if (std::erase_if(sets_, [&](const auto& other) { return other.get() == &s; }) == 0) return false;
  std::uint64_t unused = 0;
  for_each_signal(s.mask, [&](int n) {
    if (--users_[n] == 0) unused |= bit_of(n);
  });
  read_also();
  for_each_signal(unused, [this](int n) { restore(n); });
  if (sets_.empty()) stop();
  return true;
}

void signal_registry::collect(std::uint64_t signals, std::vector<std::shared_ptr<signal_source>>& out) {
  std::lock_guard held(lock_);
  for (const auto& s : sets_)
    if (s->mask & signals) out.push_back(s);
}

void signal_registry::start(std::error_code& error) {
  auto d = std::make_unique<deliverer>();
  if (d->wakeup < 0 || d->blocked_everywhere < 0) {
    error = last_system_error();
    return;
  }
  pthread_t thread;
  if (const int failure = os::start_thread(thread, &main_of, d.get()); failure != 0) {
    error.assign(failure, std::generic_category());
    return;
  }
  ::pthread_detach(thread);
  deliverer_ = d.release();
  wake_up_at.store(deliverer_->wakeup, std::memory_order_seq_cst);
}

// Afterwards no handler knows the descriptor, and the thread is about to close it.
void signal_registry::stop() noexcept {
  wake_up_at.store(-1, std::memory_order_seq_cst);
  while (in_handler.load(std::memory_order_seq_cst) != 0) os::yield_thread();
  auto* const d = std::exchange(deliverer_, nullptr);
  d->stopped.store(true, std::memory_order_release);
  poke(d->wakeup);
}

void signal_registry::install(int signal) noexcept {
  noted.fetch_and(~bit_of(signal), std::memory_order_relaxed);  // Of a set that has gone.
  struct sigaction action {};
  action.sa_handler = &on_signal;
  action.sa_flags = SA_RESTART | SA_ONSTACK;
  ::sigaction(signal, &action, &before_[signal]);
}

void signal_registry::restore(int signal) noexcept {
  struct sigaction now {};
  ::sigaction(signal, nullptr, &now);
  if ((now.sa_flags & SA_SIGINFO) || now.sa_handler != &on_signal) return;  // The program has installed another since.
  // One that was sent to the set may still be pending, while the thread that is to take it has not run: it must not
  // have the former effect, which may be to end the program. Ignoring drops it. (Of SIGCHLD it would drop children,
  // too.)
  now.sa_handler = SIG_IGN;
  if (signal != SIGCHLD) ::sigaction(signal, &now, nullptr);
  ::sigaction(signal, &before_[signal], nullptr);
}

void signal_registry::read_also() noexcept {
  sigset_t signals;
  sigemptyset(&signals);
  for (int n = 1; n <= signals_max; ++n)
    if (users_[n] > 0) sigaddset(&signals, n);
  deliverer_->read_also(signals);
}

// The signals that have arrived.
std::uint64_t deliverer::wait() const noexcept {
  std::array<pollfd, 2> both{pollfd{.fd = wakeup, .events = POLLIN, .revents = 0},
                             pollfd{.fd = blocked_everywhere, .events = POLLIN, .revents = 0}};
  ::poll(both.data(), both.size(), -1);
  std::uint64_t signals = 0, count;
  if (::read(wakeup, &count, sizeof count) < 0) count = 0;
  signalfd_siginfo one;
  while (::read(blocked_everywhere, &one, sizeof one) == sizeof one) signals |= bit_of(static_cast<int>(one.ssi_signo));
  return signals | noted.exchange(0, std::memory_order_acquire);
}

// One that has been stopped may still take what a new one was woken for: it delivers that, as the sets are all in one
// place.
void deliverer::serve() {
  std::vector<std::shared_ptr<signal_source>> sets;
  while (!stopped.load(std::memory_order_acquire)) {
    const auto signals = wait();
    signal_registry::the().collect(signals, sets);
    for (const auto& s : sets) for_each_signal(signals & s->mask, [&](int n) { s->deliver(n); });
    sets.clear();
  }
}

bool refused(int signal) noexcept {
  for (const int no : {SIGQUIT, SIGKILL, SIGSTOP, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT, 32, 33})
    if (signal == no) return true;  // 32 and 33 are glibc's own.
  return signal < 1 || signal > signals_max;
}

std::uint64_t mask_of(std::initializer_list<int> signals, std::error_code& error) noexcept {
  std::uint64_t mask = 0;
  for (const int n : signals) {
    if (refused(n))
      error = std::make_error_code(std::errc::invalid_argument);
    else
      mask |= bit_of(n);
  }
  if (mask == 0) error = std::make_error_code(std::errc::invalid_argument);
  return mask;
}

}  // namespace

signal_source::signal_source(std::uint64_t m) : mask(m), arrived(static_cast<std::size_t>(std::popcount(m))) {}

void signal_source::deliver(int signal) noexcept {
  if (queued.fetch_or(bit_of(signal), std::memory_order_acq_rel) & bit_of(signal)) return;
  try {
    arrived.try_send(signal);  // There is room, as one of a kind is in it at most.
  } catch (const thrum::channel_closed&) {
  }
}

std::optional<int> signal_source::taken(std::optional<int> signal) noexcept {
  if (signal) queued.fetch_and(~bit_of(*signal), std::memory_order_acq_rel);
  return signal;
}

}  // namespace thrum::detail

namespace thrum {

signal_set::signal_set(std::initializer_list<int> signals, std::error_code& error) {
  error.clear();
  const auto mask = detail::mask_of(signals, error);
  source_ = std::make_shared<detail::signal_source>(mask);
  if (!error && !detail::refused_in_simulation(error)) detail::signal_registry::the().add(source_, error);
  if (error) source_->arrived.close();
}

signal_set::signal_set(std::initializer_list<int> signals) {
  std::error_code error;
  *this = signal_set(signals, error);
  if (error) throw std::system_error(error, "thrum: signal_set");
}

signal_set& signal_set::operator=(signal_set&& other) noexcept {
  stop();
  source_ = std::move(other.source_);
  return *this;
}

void signal_set::stop() noexcept {
  if (source_ && detail::signal_registry::the().remove(*source_)) source_->arrived.close();
}

std::optional<int> signal_set::receive_until_ns(std::int64_t deadline_ns) {
  const auto source = source_;  // Another may move or stop the set meanwhile.
  if (deadline_ns == detail::only_try) return source->taken(source->arrived.try_receive());
  if (deadline_ns == detail::never) return source->taken(source->arrived.receive());
  return source->taken(source->arrived.receive_for(std::chrono::nanoseconds(deadline_ns - detail::now_ns())));
}

}  // namespace thrum
