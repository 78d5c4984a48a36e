// The ring's thread, and what it does with the kernel.
#include "blocking/call_ring.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <mutex>
#include <string_view>
#include <utility>

#include <liburing.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "blocking/pool.hpp"
#include "os/futex.hpp"
#include "os/report.hpp"
#include "os/thread.hpp"
#include "sched/thread_waiter.hpp"

namespace thrum::detail {
namespace {

constexpr unsigned submissions = 64;
constexpr unsigned under_way_max = 1024;
constexpr unsigned completions = 2 * under_way_max;  // And one for the wake-up.

constexpr const char* never_needed = "no call has needed it yet";

constinit call_ring ring_of_the_process;

int open(io_uring& ring) noexcept {
  io_uring_params p{};
  p.cq_entries = completions;
  p.flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
  int error = ::io_uring_queue_init_params(submissions, &ring, &p);
  if (error == -EINVAL) {  // Before Linux 6.1.
    p = {};
    p.cq_entries = completions;
    p.flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
    error = ::io_uring_queue_init_params(submissions, &ring, &p);
  }
  if (error == 0 && !(p.features & IORING_FEAT_NATIVE_WORKERS)) {
    ::io_uring_queue_exit(&ring);
    return -ENOSYS;
  }
  return error;
}

const char* words_for(int error) noexcept {
  if (error == -ENOSYS) return "the kernel has no io_uring, or one older than Linux 5.12";
  if (error == -EPERM || error == -EACCES) return "the kernel forbids io_uring to this process";
  return "there is no descriptor or memory for a ring";
}

// With more descriptors or memory it may be there another time.
bool is_for_good(int error) noexcept { return error == -ENOSYS || error == -EPERM || error == -EACCES; }

// Null: a ring is to be tried.
const char* refusal_of_the_environment() noexcept {
  const char* said = std::getenv("THRUM_FILE_ENGINE");
  if (!said || !*said) return nullptr;
  const std::string_view name = said;
  if (name == "pool") return "asked for by THRUM_FILE_ENGINE";
  if (name != "io_uring" && name != "automatic")
    os::report("thrum: THRUM_FILE_ENGINE is '%s'; it must be automatic, io_uring or pool, and counts as automatic\n",
               said);
  return nullptr;
}

void prepare(io_uring_sqe& s, const ring_operation& o) noexcept {
  constexpr std::size_t most = 1u << 30;  // The kernel counts in 32 bits, and moves 2 GiB at most.
  const auto size = static_cast<unsigned>(std::min(o.size, most));
  switch (o.what) {
    case ring_operation::kind::read:
      return ::io_uring_prep_read(&s, o.fd, o.data, size, o.at);
    case ring_operation::kind::write:
      return ::io_uring_prep_write(&s, o.fd, o.data, size, o.at);
    case ring_operation::kind::sync:
      return ::io_uring_prep_fsync(&s, o.fd, 0);
    case ring_operation::kind::data_sync:
      return ::io_uring_prep_fsync(&s, o.fd, IORING_FSYNC_DATASYNC);
  }
}

}  // namespace

call_ring& the_call_ring() noexcept { return ring_of_the_process; }

// What only the thread touches: the ring itself.
class call_ring::kernel_side {
 public:
  kernel_side() = default;
  kernel_side(const kernel_side&) = delete;
  kernel_side& operator=(const kernel_side&) = delete;
  ~kernel_side() {
    if (is_open_) ::io_uring_queue_exit(&ring_);
    if (wake_fd_ >= 0) ::close(wake_fd_);
  }

  // 0, or a negative errno value.
  int open() noexcept {
    wake_fd_ = ::eventfd(0, EFD_CLOEXEC);
    if (wake_fd_ < 0) return -errno;
    const int error = detail::open(ring_);
    is_open_ = error == 0;
    return error;
  }

  int wake_fd() const noexcept { return wake_fd_; }
  bool is_full() const noexcept { return under_way_ == under_way_max; }
  bool is_idle() const noexcept { return under_way_ == 0; }

  void begin(ring_request& r) noexcept {
    ++under_way_;
    go_on(r);
  }
  void go_on(ring_request& r) noexcept {
    auto& s = submission();
    prepare(s, r.operation);
    ::io_uring_sqe_set_data(&s, &r);
  }
  void end() noexcept { --under_way_; }

  // Brings everything to the kernel, and sleeps until it tells of something.
  void wait() noexcept {
    if (!listens_) {
      auto& s = submission();
      ::io_uring_prep_read(&s, wake_fd_, &wake_ups_, sizeof wake_ups_, 0);
      ::io_uring_sqe_set_data(&s, nullptr);
      listens_ = true;
    }
    const int n = ::io_uring_submit_and_wait(&ring_, 1);
    if (n < 0 && n != -EINTR) os::yield_thread();  // No memory for it: a moment later.
  }

  // f(request, result) for each that has an end.
  template <class F>
  void for_each_end(F f) noexcept {
    for (io_uring_cqe* c; ::io_uring_peek_cqe(&ring_, &c) == 0;) {
      auto* const r = static_cast<ring_request*>(::io_uring_cqe_get_data(c));
      const int result = c->res;
      ::io_uring_cqe_seen(&ring_, c);
      if (r)
        f(*r, result);
      else
        listens_ = false;
    }
  }

 private:
  io_uring_sqe& submission() noexcept {
    for (;;) {
      if (auto* s = ::io_uring_get_sqe(&ring_)) return *s;
      if (::io_uring_submit(&ring_) < 0) os::yield_thread();
    }
  }

  // The kernel may write to it until it has let go of a ring that was left, after queue_exit().
  static inline std::uint64_t wake_ups_ = 0;

  io_uring ring_{};
  bool is_open_ = false;
  bool listens_ = false;  // The eventfd is being read.
  int wake_fd_ = -1;
  unsigned under_way_ = 0;
};

// ---------------------------------------------------------------------------------------------------------------
// Whoever brings a call.

bool call_ring::submit(ring_request& r) noexcept {
  bool starts = false, wakes = false;
  {
    std::lock_guard held(lock_);
    if (state_ == state::impossible) return false;
    starts = std::exchange(state_, state::running) != state::running;
    ending_ = false;
    r.queued = true;
    r.before = std::exchange(last_, &r);
    (r.before ? r.before->behind : first_) = &r;
    ++queued_;
    wakes = std::exchange(asleep_, false);
  }
  if (wakes) wake();
  if (!starts) return true;
  end_threads_with_the_last_runtime();
  if (const char* refusal = refusal_of_the_environment()) {
    give_up(state::impossible, refusal);
    return true;
  }
  pthread_t started;
  if (os::start_thread(started, &thread_main, this) != 0) give_up(state::ended, "there is no thread for it");
  return true;
}

// Not ::write, which may be interposed.
void call_ring::wake() noexcept {
  const std::uint64_t one = 1;
  ::syscall(SYS_write, wake_fd_, &one, sizeof one);
}

bool call_ring::withdraw(ring_request& r) noexcept {
  std::lock_guard held(lock_);
  if (!r.queued) return false;
  unlink(r);
  ++withdrawn_;
  return true;
}

// Under the lock.
void call_ring::unlink(ring_request& r) noexcept {
  (r.before ? r.before->behind : first_) = r.behind;
  (r.behind ? r.behind->before : last_) = r.before;
  r.before = r.behind = nullptr;
  r.queued = false;
  --queued_;
}

// Under the lock.
ring_request* call_ring::take_first() noexcept {
  ring_request* r = first_;
  if (r) unlink(*r);
  return r;
}

// What has come goes to the pool. With `impossible` so does all that comes later.
void call_ring::give_up(state s, const char* why) noexcept {
  ring_request* left = nullptr;
  {
    std::lock_guard held(lock_);
    state_ = s;
    reason_ = why;
    while (ring_request* r = take_first()) r->behind = std::exchange(left, r);
  }
  while (left) the_offload_pool().submit_to_threads(std::exchange(left, left->behind)->call);
}

void call_ring::add_to(blocking_statistics& s) noexcept {
  std::lock_guard held(lock_);
  s.queued += queued_;
  s.running += running_;
  s.completed += completed_;
  s.withdrawn += withdrawn_;
}

ring_choice call_ring::choice() noexcept {
  std::lock_guard held(lock_);
  return {state_ == state::running && reason_ == nullptr, reason_ ? reason_ : "the kernel has one"};
}

void call_ring::end_thread() noexcept {
  thread last;
  bool wakes = false;
  {
    std::lock_guard held(lock_);
    ending_ = true;
    wakes = std::exchange(asleep_, false);
  }
  if (wakes) wake();
  for (;;) {
    const auto seen = ends_.load(std::memory_order_acquire);  // Pairs with take_up().
    {
      std::lock_guard held(lock_);
      if (!ending_) return;  // Another runtime has begun, and uses it.
      if (state_ != state::running) {
        last = std::exchange(ended_, {});
        break;
      }
    }
    os::futex_wait(ends_, seen);
  }
  if (last.any) os::join_thread(last.id);
}

// ---------------------------------------------------------------------------------------------------------------
// The thread.

void* call_ring::thread_main(void* self) noexcept {
  os::name_thread("thrum-files");
  sched::thread_waiter::declare_inert(true);
  static_cast<call_ring*>(self)->run();
  sched::thread_waiter::declare_inert(false);
  return nullptr;
}

void call_ring::run() noexcept {
  thread predecessor;
  {
    kernel_side k;
    const int error = k.open();
    const auto without = is_for_good(error) ? state::impossible : state::ended;
    {
      std::lock_guard held(lock_);
      wake_fd_ = k.wake_fd();
      reason_ = nullptr;
      if (error != 0) retire(without, words_for(error), predecessor);
    }
    if (error != 0) give_up(without, words_for(error));
    while (error == 0 && take_up(k, predecessor)) {
      k.wait();
      hand_back(k);
    }
  }
  if (predecessor.any) os::join_thread(predecessor.id);
}

// Under the lock.
void call_ring::retire(state s, const char* why, thread& predecessor) noexcept {
  state_ = s;
  reason_ = why;
  asleep_ = false;
  predecessor = std::exchange(ended_, {::pthread_self(), true});
  ends_.fetch_add(1, std::memory_order_release);  // Pairs with end_thread().
  os::futex_wake(ends_, 1);
}

// Brings what has come, so far as there is room. False: there is nothing, and nobody to bring more.
bool call_ring::take_up(kernel_side& k, thread& predecessor) noexcept {
  while (!k.is_full()) {
    ring_request* r = nullptr;
    {
      std::lock_guard held(lock_);
      r = take_first();
      if (!r && ending_ && k.is_idle()) {
        retire(state::ended, never_needed, predecessor);
        return false;
      }
      asleep_ = !r;
      if (r) ++running_;
    }
    if (!r) break;
    k.begin(*r);
  }
  return true;
}

// The caller may return, and take the request with it, as soon as its call is finished.
void call_ring::hand_back(kernel_side& k) noexcept {
  k.for_each_end([&](ring_request& r, int result) {
    if (r.settle(r, result)) return k.go_on(r);
    k.end();
    r.was_made = true;
    {
      std::lock_guard held(lock_);
      --running_;
      ++completed_;
    }
    finish(r.call);
  });
}

}  // namespace thrum::detail
