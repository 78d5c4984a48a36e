// Computing in fibers without keeping a worker from the others.
//
//   auto sum = thrum::cpu([&] {
//     double s = 0;
//     for (const auto& row : rows) {
//       s += expensive(row);
//       thrum::this_fiber::maybe_yield();      // Tens of microseconds apart, or more often.
//     }
//     return s;
//   });
//
// maybe_yield() costs a few nanoseconds, and gives way only when it is time to: when the fiber has run for a
// millisecond or two while others waited. Then it queues behind all of them, and nothing has to be handed over. A
// computation without such calls is no harm either, but others wait for longer, and each occupies an OS thread
// (docs/guide/blocking-and- hogs.md). For what computes for seconds, or comes in numbers, there are threads of their
// own: blocking_pool in blocking.hpp.
//
// Tasks: co_await async_maybe_yield() (task_cpu.hpp). The idea is that of tokio's budget and of its consume_budget().
#pragma once

#include <functional>
#include <type_traits>

namespace thrum {

namespace sched {
struct activity;
}

namespace detail {

// While it lives, the monitor looks at the calling fiber or task as at one that has hogged before.
class computing {
 public:
  computing() noexcept;
  ~computing();
  computing(const computing&) = delete;
  computing& operator=(const computing&) = delete;

 private:
  sched::activity* who_;  // Null on a plain thread.
  bool before_ = false;
};

}  // namespace detail

// Returns f(), called here and now. Tells the monitor that f computes: if f does not give way in time, its worker's
// processor is handed over after 2 ms instead of 10. Costs some nanoseconds; does not suspend, but for what f does. On
// a plain thread it is only a call.
template <class F>
std::invoke_result_t<F&> cpu(F&& f) {
  const detail::computing here;
  return std::invoke(f);
}

namespace this_fiber {

// Lets others run if they have waited for long enough. A cancellation point, also when it does not give way. On a plain
// thread it does nothing; in a task it ends the process, as every call that may suspend does there.
void maybe_yield();

}  // namespace this_fiber
}  // namespace thrum
