// Who am I: the worker that the calling OS thread is, if any.
//
// A fiber may continue on another OS thread after any switch, so the address of a thread_local must not be carried
// across one. The compiler would do so if it could inline this function or deduce that two calls return the same
// value; noipa (GCC) and the volatile assembly inside forbid both, under LTO too. tests/migration_test.cpp checks it.
#pragma once

namespace thrum::sched {

class worker;

// Null on threads that are not workers.
#if defined(__clang__)
[[gnu::noinline]]
#else
[[gnu::noipa]]
#endif
worker* this_worker() noexcept;

void set_this_worker(worker* w) noexcept;

}  // namespace thrum::sched
