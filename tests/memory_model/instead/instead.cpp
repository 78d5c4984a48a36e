// Stands in for what the model has of its own: os/futex.cpp, sched/thread_lease.cpp and the end of base/assert.cpp.
#include <cstdarg>
#include <cstddef>
#include <cstdio>
#include <new>

#include "base/assert.hpp"
#include "memory_model/checks.hpp"
#include "memory_model/memory.hpp"
#include "os/futex.hpp"
#include "sched/thread_waiter.hpp"

namespace thrum {
namespace {

alignas(sched::thread_waiter) std::byte rooms[memory_model::threads_max][sizeof(sched::thread_waiter)];

}  // namespace

bool os::futex_wait(const detail::atomic<std::uint32_t>& word, std::uint32_t expected,
                    std::int64_t deadline_ns) noexcept {
  return memory_model::wait(&word, expected, deadline_ns != no_deadline);
}
void os::futex_wake(const detail::atomic<std::uint32_t>& word, int count) noexcept { memory_model::wake(&word, count); }
bool os::membarrier_register() noexcept { return true; }
void os::membarrier_private() noexcept { memory_model::membarrier(); }

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
void memory_model::fresh_waiters() { sched::thread_waiter::mine(); }

// A waiter for each thread of the program; thread 0, which sets up, makes them anew.
sched::thread_waiter& sched::thread_waiter::mine() noexcept {
  const auto thread = memory_model::this_thread();
  if (thread == 0)
    for (auto& room : rooms) new (room) thread_waiter;
  return memory_model::waiter_of(thread);
}

}  // namespace thrum
