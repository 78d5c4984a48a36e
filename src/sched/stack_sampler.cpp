// The handler of the sampling signal, and requests to it.
#include "sched/stack_sampler.hpp"

#include <cerrno>
#include <csignal>
#include <mutex>
#include <system_error>

#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <thrum/detail/spinlock.hpp>

#include "sched/scheduler.hpp"
#include "sched/stall_watch.hpp"
#include "sched/worker.hpp"

namespace thrum::sched {
namespace {

detail::spinlock sampling_lock;
int samplers = 0;                     // Guarded by sampling_lock.
struct sigaction before_sampling;     // Guarded by sampling_lock.
std::atomic<int> sampling_signal{0};  // 0: none.

void on_sampling_signal(int, siginfo_t*, void* ucontext) {
  worker* w = this_worker();
  if (!w) return;
  if (auto* sampler = w->home.the_monitor().stalls().sampler()) sampler->on_signal(*w, ucontext);
}

bool is_unused(int signal) noexcept {
  struct sigaction now;
  return ::sigaction(signal, nullptr, &now) == 0 && !(now.sa_flags & SA_SIGINFO) && now.sa_handler == SIG_DFL;
}

int unused_signal() noexcept {
  for (int signal = SIGRTMAX; signal >= SIGRTMIN; --signal)
    if (is_unused(signal)) return signal;
  return 0;
}

void install_sampling() {
  std::lock_guard held(sampling_lock);
  if (samplers == 0) {
    const int signal = unused_signal();
    if (signal == 0)
      throw std::system_error(EBUSY, std::generic_category(), "thrum: no real-time signal is left for sampled stacks");
    struct sigaction action {};
    action.sa_sigaction = &on_sampling_signal;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
    ::sigaction(signal, &action, &before_sampling);
    sampling_signal.store(signal, std::memory_order_release);
  }
  ++samplers;
}

}  // namespace

stack_sampler::stack_sampler() { install_sampling(); }

// The workers it was sent to have ended, so none is pending.
stack_sampler::~stack_sampler() {
  std::lock_guard held(sampling_lock);
  if (--samplers == 0) ::sigaction(sampling_signal.exchange(0), &before_sampling, nullptr);
}

void stack_sampler::let_signal_in() noexcept {
  sigset_t only;
  sigemptyset(&only);
  sigaddset(&only, sampling_signal.load(std::memory_order_acquire));
  ::pthread_sigmask(SIG_UNBLOCK, &only, nullptr);
}

bool stack_sampler::ask(worker& w, std::uint64_t activity) noexcept {
  const auto word = word_.load(std::memory_order_acquire);
  if (awaited_ || state_of(word) == state::copying) return false;
  awaited_ = true;
  whose_.store(&w, std::memory_order_relaxed);
  activity_.store(activity, std::memory_order_relaxed);
  word_.store(with(word + (1u << state_bits), state::asked), std::memory_order_release);  // Pairs with on_signal().
  ::syscall(SYS_tgkill, ::getpid(), w.tid.load(std::memory_order_relaxed), sampling_signal.load());
  return true;
}

stack_sampler::answer stack_sampler::look(context::trace& out) noexcept {
  const auto word = word_.load(std::memory_order_acquire);  // Pairs with the end of on_signal().
  const auto now = state_of(word);
  if (now != state::copied && now != state::refused) return answer::none_yet;
  awaited_ = false;
  if (now == state::copied) copy_.unwind(out);
  word_.store(with(word, state::free), std::memory_order_release);
  return now == state::copied ? answer::taken : answer::refused;
}

// A copy under way ends by itself, and nobody looks at it.
void stack_sampler::withdraw() noexcept {
  awaited_ = false;
  auto word = word_.load(std::memory_order_acquire);
  if (state_of(word) == state::asked)
    word_.compare_exchange_strong(word, with(word, state::free), std::memory_order_acq_rel);
}

void stack_sampler::on_signal(worker& here, const void* ucontext) noexcept {
  auto word = word_.load(std::memory_order_acquire);  // Pairs with ask().
  if (state_of(word) != state::asked || whose_.load(std::memory_order_relaxed) != &here) return;
  // The number says whether `whose_` was this request's.
  if (!word_.compare_exchange_strong(word, with(word, state::copying), std::memory_order_acq_rel)) return;
  const bool taken = copy_stack_of(here, ucontext);
  word_.store(with(word, taken ? state::copied : state::refused), std::memory_order_release);  // Pairs with look().
}

bool stack_sampler::copy_stack_of(worker& here, const void* ucontext) noexcept {
  const activity* a = here.running();
  if (here.in_runtime() || !a || a->id.load(std::memory_order_relaxed) != activity_.load(std::memory_order_relaxed))
    return false;
  if (!a->is_fiber()) {
    copy_.take(ucontext, nullptr, here.stack_top());
    return true;
  }
  const auto& f = *static_cast<const fiber_control*>(a);
  if (!f.stack) return false;
  copy_.take(ucontext, f.stack.base(), f.stack.base() + (std::size_t{1} << f.size_class));
  return true;
}

}  // namespace thrum::sched
