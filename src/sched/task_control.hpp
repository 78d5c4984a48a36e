// A task's control block. Its frames are coroutine frames, which belong to whoever created them (task.hpp).
//
// A task runs on a worker's own stack: the worker resumes the coroutine that was suspended last, and gets control back
// when the task waits, gives way or ends. So a task costs this block and its frames, and no stack.
#pragma once

#include <exception>

#include "sched/activity.hpp"

namespace thrum::sched {

struct task_control : activity {
  task_control() noexcept : activity(waiter_kind::task) {}

  // --- Written by whoever runs it.
  void* resume_point = nullptr;  // The innermost coroutine: what is resumed next.
  void* root = nullptr;          // The outermost one: destroyed at the end, by the handle if there is one.
  const std::exception_ptr* failure = nullptr;  // In the outermost one's promise: how it has ended, unless well.
};

}  // namespace thrum::sched
