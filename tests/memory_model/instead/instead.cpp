// Stands in for what the model has of its own: os/futex.cpp, os/thread.cpp, sched/thread_lease.cpp and the end of
// base/assert.cpp.
#include <algorithm>
#include <cstdarg>
#include <cstddef>
#include <cstdio>
#include <new>

#include "base/assert.hpp"
#include "memory_model/checks.hpp"
#include "memory_model/memory.hpp"
#include "os/clock.hpp"
#include "os/futex.hpp"
#include "os/thread.hpp"
#include "sched/thread_waiter.hpp"

namespace thrum {
namespace {

alignas(sched::thread_waiter) std::byte rooms[memory_model::threads_max][sizeof(sched::thread_waiter)];

}  // namespace

bool os::futex_wait(const detail::atomic<std::uint32_t>& word, std::uint32_t expected,
                    std::int64_t deadline_ns) noexcept {
  if (memory_model::wait(&word, expected, deadline_ns != no_deadline)) return true;
  time_ns = std::max(time_ns, deadline_ns);
  return false;
}
void os::futex_wake(const detail::atomic<std::uint32_t>& word, int count) noexcept { memory_model::wake(&word, count); }
bool os::membarrier_register() noexcept { return true; }
void os::membarrier_private() noexcept { memory_model::membarrier(); }

// ---------------------------------------------------------------------------------------------------------------
// Threads. A pthread_t is the modelled thread's number; 0 for one that never runs.

int os::start_thread(pthread_t& thread, void* (*entry)(void*), void* argument) noexcept {
  thread = 0;
  if (memory_model::threads_run) thread = memory_model::start_thread("worker", [=] { entry(argument); });
  return 0;
}
void os::join_thread(pthread_t thread) noexcept {
  if (thread != 0) memory_model::join_thread(thread);
}
void os::yield_thread() noexcept { memory_model::yield(); }
void os::sleep_thread_ns(std::int64_t) noexcept { memory_model::yield(); }
pid_t os::thread_id() noexcept { return static_cast<pid_t>(memory_model::this_thread() + 1); }
void os::limit_threads(int) noexcept {}
void os::name_thread(const char*) noexcept {}
void os::want_exact_timers() noexcept {}
void os::set_time_slice(pid_t, std::int64_t) noexcept {}
std::int64_t os::thread_cpu_ns(pid_t) noexcept { return -1; }
char os::thread_state(pid_t) noexcept { return '?'; }
int os::thread_count() noexcept { return -1; }

// ---------------------------------------------------------------------------------------------------------------

// What ends a process ends the execution.
void base::panic(const char* message) noexcept { memory_model::fail(message); }
void base::panicf(const char* format, ...) noexcept {
  char text[256];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  memory_model::fail(text);
}
void base::set_panic_hook(panic_hook) noexcept {}
void base::assertion_failed(const char* expression, const char*, int) noexcept { memory_model::fail(expression); }

sched::thread_waiter& memory_model::waiter_of(std::size_t thread) {
  return *std::launder(reinterpret_cast<sched::thread_waiter*>(rooms[thread]));
}
void memory_model::fresh_waiters() {
  sched::thread_waiter::mine();
  os::time_ns = 0;
}

// A waiter for each thread of the program; thread 0, which sets up, makes them anew.
sched::thread_waiter& sched::thread_waiter::mine() noexcept {
  const auto thread = memory_model::this_thread();
  if (thread == 0)
    for (auto& room : rooms) new (room) thread_waiter;
  return memory_model::waiter_of(thread);
}

}  // namespace thrum
