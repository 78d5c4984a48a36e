// A task's control block. Its frames are coroutine frames, which belong to whoever created them (task.hpp).
//
// A task runs on a worker's own stack: the worker resumes the coroutine that was suspended last, and gets control back
// when the task waits, gives way or ends. So a task costs this block and its frames, and no stack.
#pragma once

#include "sched/activity.hpp"

namespace thrum::sched {

struct task_control : activity {
  task_control() noexcept : activity(waiter_kind::task) {}

  // Written by whoever runs it. The innermost coroutine: what is resumed next. In the end the outermost one, which is
  // destroyed then, by the handle if there is one.
  void* resume_point = nullptr;
};

static_assert(sizeof(task_control) <= 152);  // There are millions of them.

}  // namespace thrum::sched
