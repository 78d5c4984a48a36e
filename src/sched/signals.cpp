// The process-wide handlers: overflow of a fiber's stack (SIGSEGV, SIGBUS), dumps (SIGQUIT), and the panic hook.
//
// Nothing is printed in a handler but the report of an overflow, after which the process dies. SIGQUIT only wakes the
// monitors, which print.
#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <new>

#include <pthread.h>
#include <sys/auxv.h>
#include <ucontext.h>

#include <thrum/detail/spinlock.hpp>

#include "base/assert.hpp"
#include "base/fork.hpp"
#include "context/unwind.hpp"
#include "os/memory.hpp"
#include "os/report.hpp"
#include "sched/diagnose.hpp"
#include "sched/scheduler.hpp"
#include "sched/worker.hpp"

namespace thrum::sched {
namespace {

constexpr std::size_t schedulers_max = 64;
constexpr std::size_t signal_stack_size = 96 * 1024;  // Unwinding and symbol look-up need most of it.

// Written under `registry_lock`, read by signal handlers.
std::atomic<scheduler*> schedulers[schedulers_max];
detail::spinlock registry_lock;
int registered = 0;
std::atomic<void (*)() noexcept> at_last_end{nullptr};
struct sigaction previous_segv, previous_bus, previous_quit;
std::terminate_handler previous_terminate = nullptr;
bool quit_installed = false;
sigset_t signal_mask;  // Of the thread that made the first scheduler: workers block signals, their children do not.
const activity* forking = nullptr;  // In a forked child: whose thread this was.

// The state of a thread interrupted by a signal, as a context that can be unwound.
context::context interrupted(const void* ucontext) noexcept {
  const auto& m = static_cast<const ucontext_t*>(ucontext)->uc_mcontext;
  context::context c;
#if defined(__x86_64__)
  c.sp = reinterpret_cast<void*>(m.gregs[REG_RSP]);
  c.bp = reinterpret_cast<void*>(m.gregs[REG_RBP]);
  c.ip = reinterpret_cast<void*>(m.gregs[REG_RIP] + 1);  // Unwinders take it for a return address and subtract one.
#else
  c.sp = reinterpret_cast<void*>(m.sp);
  c.bp = reinterpret_cast<void*>(m.regs[29]);
  c.ip = reinterpret_cast<void*>(m.pc + 1);
#endif
  return c;
}

bool hits_guard(const fiber_control& f, const void* address) noexcept {
  const auto a = reinterpret_cast<std::uintptr_t>(address);
  const auto base = reinterpret_cast<std::uintptr_t>(f.stack.base());
  // A large frame may step over the guard page into the neighbour's top only by touching memory that is mapped; what
  // faults within a page of our lowest address is ours.
  return f.stack && a >= base - os::page_size && a < base + 2 * os::page_size;
}

void chain(const struct sigaction& previous, int signal, siginfo_t* info, void* ucontext) noexcept {
  if (previous.sa_flags & SA_SIGINFO) return previous.sa_sigaction(signal, info, ucontext);
  if (previous.sa_handler == SIG_IGN) return;
  if (previous.sa_handler != SIG_DFL) return previous.sa_handler(signal);
  // The default action, with the fault's own address in the core: return to the instruction that faults again.
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  ::sigaction(signal, &standard, nullptr);
}

void on_fault(int signal, siginfo_t* info, void* ucontext) {
  const fiber_control* f = current_fiber();
  if (f && hits_guard(*f, info->si_addr)) {
    os::report("thrum: fatal: stack overflow: ");
    describe(*f, labels::shown);
    os::report(" has used up its stack of %zu KiB\n", (std::size_t{1} << f->size_class) / 1024);
    context::trace t;
    context::capture(t, interrupted(ucontext));
    context::print(t, context::symbol_names::as_they_are);
    std::abort();
  }
  chain(signal == SIGSEGV ? previous_segv : previous_bus, signal, info, ucontext);
}

void on_quit(int) {
  for (auto& slot : schedulers)
    if (auto* s = slot.load(std::memory_order_acquire)) s->the_monitor().request_dump();
}

void on_panic() noexcept {
  const activity* running = current_activity();
  if (const activity* a = running ? running : forking) {
    os::report("in ");
    describe(*a, labels::shown);
    os::report("\n");
  }
  context::trace t;
  context::capture(t, 1);
  context::print(t);
}

[[noreturn]] void on_terminate() {
  static std::atomic<bool> reported{false};
  if (const activity* a = current_activity(); a && !reported.exchange(true)) report_uncaught(*a);
  previous_terminate();
  std::abort();
}

// The child has this thread only. It becomes a stranger to its worker, so that its calls take the way of plain threads,
// where they are refused (base/fork.hpp).
void after_fork_in_child() noexcept {
  bool had_runtime = false;
  for (auto& slot : schedulers) had_runtime |= slot.load(std::memory_order_relaxed) != nullptr;
  if (!had_runtime) return;
  base::forked_away.store(true, std::memory_order_relaxed);
  if (quit_installed) ::sigaction(SIGQUIT, &previous_quit, nullptr);  // There is no monitor to serve it.
  if (!this_worker()) return;
  forking = current_activity();
  set_this_worker(nullptr);
  ::pthread_sigmask(SIG_SETMASK, &signal_mask, nullptr);
}

void install_handlers() noexcept {
  [[maybe_unused]] static const int once = ::pthread_atfork(nullptr, nullptr, &after_fork_in_child);
  ::pthread_sigmask(SIG_SETMASK, nullptr, &signal_mask);
  struct sigaction action {};
  action.sa_sigaction = &on_fault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  ::sigaction(SIGSEGV, &action, &previous_segv);
  ::sigaction(SIGBUS, &action, &previous_bus);
  // SIGQUIT is ours only when nobody else wants it.
  ::sigaction(SIGQUIT, nullptr, &previous_quit);
  quit_installed = !(previous_quit.sa_flags & SA_SIGINFO) && previous_quit.sa_handler == SIG_DFL;
  if (quit_installed) {
    struct sigaction quit {};
    quit.sa_handler = &on_quit;
    quit.sa_flags = SA_RESTART;
    ::sigaction(SIGQUIT, &quit, nullptr);
  }
  previous_terminate = std::set_terminate(&on_terminate);
  base::set_panic_hook(&on_panic);
}

void remove_handlers() noexcept {
  if (std::get_terminate() == &on_terminate) std::set_terminate(previous_terminate);
  ::sigaction(SIGSEGV, &previous_segv, nullptr);
  ::sigaction(SIGBUS, &previous_bus, nullptr);
  if (quit_installed) ::sigaction(SIGQUIT, &previous_quit, nullptr);
}

}  // namespace

void install_diagnostics(scheduler& s) {
  base::refuse_after_fork();
  std::lock_guard held(registry_lock);
  for (auto& slot : schedulers) {
    if (slot.load(std::memory_order_relaxed)) continue;
    slot.store(&s, std::memory_order_release);
    break;
  }
  if (registered++ == 0) install_handlers();
}

void uninstall_diagnostics(scheduler& s) noexcept {
  bool last;
  {
    std::lock_guard held(registry_lock);
    for (auto& slot : schedulers)
      if (slot.load(std::memory_order_relaxed) == &s) slot.store(nullptr, std::memory_order_release);
    last = --registered == 0;
    if (last) remove_handlers();
  }
  // Acquire pairs with the release in after_last_scheduler().
  if (auto* f = last ? at_last_end.load(std::memory_order_acquire) : nullptr) f();
}

void after_last_scheduler(void (*f)() noexcept) noexcept { at_last_end.store(f, std::memory_order_release); }
bool mask_before_runtime(sigset_t& mask) noexcept {
  if (!this_worker()) return false;
  mask = signal_mask;  // Its scheduler is registered, so nobody writes it.
  return true;
}

bool other_schedulers_exist(const scheduler& s) noexcept {
  for (auto& slot : schedulers) {
    const auto* other = slot.load(std::memory_order_acquire);
    if (other && other != &s) return true;
  }
  return false;
}

void prepare_signal_stack() noexcept {
  stack_t existing;
  if (::sigaltstack(nullptr, &existing) == 0 && !(existing.ss_flags & SS_DISABLE)) return;  // A sanitizer's, say.
  const std::size_t size = signal_stack_size + ::getauxval(AT_MINSIGSTKSZ);
  stack_t s{};
  s.ss_sp = std::malloc(size);
  s.ss_size = size;
  if (s.ss_sp) ::sigaltstack(&s, nullptr);
}

void release_signal_stack() noexcept {
  stack_t s;
  if (::sigaltstack(nullptr, &s) != 0 || (s.ss_flags & SS_DISABLE)) return;
  if (s.ss_size != signal_stack_size + ::getauxval(AT_MINSIGSTKSZ)) return;  // Not ours.
  stack_t none{};
  none.ss_flags = SS_DISABLE;
  ::sigaltstack(&none, nullptr);
  std::free(s.ss_sp);
}

}  // namespace thrum::sched
