// errno, for code that may wait and go on in another thread.
//
// glibc declares the location of errno to be constant, so the compiler reads it once per function: in a loop that
// makes a system call and then suspends the fiber, it would go on to read the errno of the thread that it started on.
#pragma once

namespace thrum::os {

// The calling thread's errno. To be called between a system call and whatever may suspend.
#if defined(__clang__)
[[gnu::noinline]]
#else
[[gnu::noipa]]
#endif
int error_number() noexcept;

// The same for setting it.
#if defined(__clang__)
[[gnu::noinline]]
#else
[[gnu::noipa]]
#endif
void set_error_number(int error) noexcept;

}  // namespace thrum::os
