// Functions called in other processes, whose crashes, leaks and endless loops cost one call and nothing else.
//
//   thumbnail shrink(std::span<const std::byte> image, int width);   // May crash: it uses that library.
//
//   int main() {
//     thrum::process_pool::serve_if_worker();                        // First: here a worker leaves the program.
//     return thrum::run([] {
//       thrum::process_pool pool({.workers = 4, .timeout = 2s, .memory_max = 256 << 20});
//       thumbnail t = pool.call(shrink, bytes, 200);                 // Throws worker_error: "… signal 11 (SEGV)".
//     });
//   }
//
// A worker is a process of its own that executes this very program again, up to serve_if_worker(), and then calls what
// it is asked to, one call at a time, in plain blocking code on its main thread. It shares nothing with this process:
// its standard input is /dev/null, its output and error streams are ours, it has no other descriptor of ours, no signal
// is blocked or ignored, and it leads a process group, which is killed with it. It keeps what its functions leave in
// static variables. It ends when the pool does, and at once, whatever it is doing, when this process ends in any way.
//
// What is called: functions and lambdas without captures, of the program or of a library that it is linked with. What
// travels: see wire.hpp, and shared_memory.hpp for what is large. Callers are threads, and the fibers and tasks
// of one runtime, or of another once that has ended; calls are served in the order in which they came. Workers are
// started when calls need them, and again when they have ended; starting one takes some milliseconds. When one fails
// before it serves, its call fails, and the next start waits for a pause that doubles from 10 ms to backoff_max.
//
// A call throws worker_error for what happened in the worker, std::system_error for what the system refuses here (such
// as errc::too_many_files_open), wire_error or what else writing the arguments throws, and cancelled. The overloads
// with an error_code report all but what the arguments throw there, cancellation as errc::operation_canceled. All
// functions of a pool may be called by anybody at any time; only calls may still be under way when its destructor
// begins.
//
// A call suspends, and is a cancellation point. One that is cancelled while it waits for a worker has not happened; one
// that runs has its worker killed, and its effects outside that process stay. So no more than `workers` calls run.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <system_error>
#include <type_traits>
#include <utility>

#include <thrum/detail/remote_call.hpp>
#include <thrum/wire.hpp>
#include <thrum/worker_error.hpp>

namespace thrum {

template <class T>
class task;

struct process_pool_options {
  unsigned workers = 0;                           // Processes, at most; 0: available_processors().
  std::size_t queue_max = 1024;                   // Calls that wait for a worker; one more fails.
  std::chrono::nanoseconds timeout{0};            // For one call, from when a worker begins it. Zero or less: none.
  std::chrono::nanoseconds cpu_time_max{0};       // CPU time of one call. Zero or less: no limit.
  std::size_t memory_max = 0;                     // Bytes that a worker may allocate in all (RLIMIT_DATA); 0: no limit.
  std::size_t answer_max = std::size_t{1} << 30;  // Bytes of one answer, without shared memory.
  std::chrono::nanoseconds start_timeout = std::chrono::seconds(30);  // Until a worker serves.
  std::chrono::nanoseconds backoff_max = std::chrono::seconds(5);     // Between starts that fail.
  std::chrono::nanoseconds grace = std::chrono::seconds(5);           // For workers to end, in join().
};

// Of one call.
struct call_limits {
  std::chrono::nanoseconds timeout{0};   // Instead of the pool's; zero: the pool's.
  std::chrono::nanoseconds patience{0};  // How long it waits for a worker; zero or less: as long as it takes.
};

class process_pool {
 public:
  // First in main(), before threads are started. In a worker it serves, and never returns; in the program it returns at
  // once. It may also be called when a static variable is initialised, if all that the functions use is by then.
  static void serve_if_worker();

  // Starts nothing yet. Throws std::logic_error when the program has not called serve_if_worker(), since its workers
  // would not either; std::system_error: in a simulation errc::operation_not_supported.
  explicit process_pool(const process_pool_options& options = {});
  // As cancel(), and waits, shielded from cancellation, until all calls have ended. In a task, which cannot wait here,
  // it ends the process if a call is under way.
  ~process_pool();
  process_pool(const process_pool&) = delete;
  process_pool& operator=(const process_pool&) = delete;

  // The result of f(arguments...) in a worker.
  template <remote_function F, class... Args>
  detail::remote_result<F> call(F f, Args&&... arguments) {
    return call(call_limits(), f, std::forward<Args>(arguments)...);
  }
  template <remote_function F, class... Args>
  detail::remote_result<F> call(const call_limits& limits, F f, Args&&... arguments) {
    detail::remote_request<F> r(f, std::forward<Args>(arguments)...);
    perform(limits, r);
    r.throw_failure();
    return r.take();
  }
  // Empty when there is an error; of a function that returns nothing: whether it has returned.
  template <remote_function F, class... Args>
  detail::remote_answer<F> call(std::error_code& error, F f, Args&&... arguments) {
    return call(call_limits(), error, f, std::forward<Args>(arguments)...);
  }
  template <remote_function F, class... Args>
  detail::remote_answer<F> call(const call_limits& limits, std::error_code& error, F f, Args&&... arguments) {
    detail::remote_request<F> r(f, std::forward<Args>(arguments)...);
    perform(limits, r);
    error = r.error;
    return std::move(r.answer);
  }

  // For tasks, with <thrum/task_process_pool.hpp>: co_await them. The arguments are written down at once, and need not
  // outlive this; the error_code must.
  template <remote_function F, class... Args>
  task<detail::remote_result<F>> async_call(F f, Args&&... arguments) {
    return async_call(call_limits(), f, std::forward<Args>(arguments)...);
  }
  template <remote_function F, class... Args>
  task<detail::remote_result<F>> async_call(const call_limits& limits, F f, Args&&... arguments) {
    return finish(this, limits, detail::remote_request<F>(f, std::forward<Args>(arguments)...));
  }
  template <remote_function F, class... Args>
  task<detail::remote_answer<F>> async_call(std::error_code& error, F f, Args&&... arguments) {
    return async_call(call_limits(), error, f, std::forward<Args>(arguments)...);
  }
  template <remote_function F, class... Args>
  task<detail::remote_answer<F>> async_call(const call_limits& limits, std::error_code& error, F f,
                                            Args&&... arguments) {
    return finish(this, limits, error, detail::remote_request<F>(f, std::forward<Args>(arguments)...));
  }

  // Takes no more calls: worker_errc::closed. Those that it has go on. Never suspends.
  void close() noexcept;
  // Closes, waits until all calls have returned, and has the workers end: they finish what they write, and are killed
  // after `grace`. Suspends; a cancellation point, and may then be called again.
  void join();
  void join(std::error_code& error);
  task<void> async_join();
  task<void> async_join(std::error_code& error);
  // Closes, and ends the calls that wait or run, with worker_errc::closed; their workers are killed. Never suspends.
  void cancel() noexcept;

  struct statistics {
    unsigned workers = 0;             // Processes that serve, or are about to.
    std::size_t running = 0;          // Calls that have a worker,
    std::size_t queued = 0;           // and those that wait for one.
    std::uint64_t started = 0;        // Workers so far,
    std::uint64_t failed_starts = 0;  // and those of them that could not be started, or ended before they served.
  };
  statistics stats() const noexcept;

 private:
  void perform(const call_limits& limits, detail::remote_message& m);
  task<void> async_perform(const call_limits& limits, detail::remote_message& m);
  template <class Request>
  static task<typename Request::result> finish(process_pool* pool, call_limits limits, Request r);
  template <class Request>
  static task<typename Request::answer_type> finish(process_pool* pool, call_limits limits, std::error_code& error,
                                                    Request r);
  task<void> async_pause(std::int64_t deadline_ns, std::error_code& error);

  std::unique_ptr<detail::pool_core> core_;
};

}  // namespace thrum
