// Child processes.
//
//   auto r = thrum::run_process({"sort", "-u"}, "b\na\n", {.timeout = 10s});       // r.output == "a\nb\n"
//
//   auto p = thrum::process::spawn({"gzip", "-c"}, {.in = thrum::redirect::pipe(), .out = thrum::redirect::to(fd)});
//   p.in.write_all(data);
//   p.in.close();
//   if (!p.wait().success()) complain();
//
// A child is watched through a descriptor of its own (pidfd), so waiting for one suspends the calling fiber (or blocks
// the calling thread), and signals never reach a stranger that got its number. It gets the signal mask that the program
// had when its runtime was made (from a plain thread: that thread's), the default action for SIGPIPE, and none of
// thrum's descriptors. Others that were not opened close-on-exec are inherited.
//
// No child is left behind: the destructor kills one that nobody has waited for and has it reaped in the background;
// detach() lets it run on. A program that ignores SIGCHLD, or waits for any child itself, takes the exit status away:
// then wait() fails with errc::no_child_process.
//
// Errors throw std::system_error; each call has an overload that reports them in an error_code instead, cancellation
// included (errc::operation_canceled). In a simulation there are no children: errc::operation_not_supported.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <thrum/detail/deadline.hpp>
#include <thrum/pipe.hpp>
#include <thrum/select.hpp>

namespace thrum {

namespace detail {
class child;  // src/process/child.hpp
}

// How a child has ended.
class exit_status {
 public:
  bool success() const noexcept { return exited() && code_ == 0; }
  bool exited() const noexcept { return !signaled_; }
  int code() const noexcept { return signaled_ ? -1 : code_; }  // What it returned, 0 to 255; -1: a signal ended it.
  bool signaled() const noexcept { return signaled_; }
  int signal_number() const noexcept { return signaled_ ? code_ : 0; }  // Which ended it; 0: none.
  friend bool operator==(const exit_status&, const exit_status&) noexcept = default;

 private:
  friend class detail::child;
  int code_ = 0;
  bool signaled_ = false;
};

// What one of a child's three streams is. A pipe or terminal that is in non-blocking mode, such as an end of
// make_pipe(), is opened once more for the child, in blocking mode; a socket is handed over as it is.
class redirect {
 public:
  static constexpr redirect inherit() noexcept { return {what::inherited, -1}; }
  static constexpr redirect null() noexcept { return {what::null, -1}; }            // /dev/null
  static constexpr redirect pipe() noexcept { return {what::pipe, -1}; }            // Our end: process::in, out, err.
  static constexpr redirect to(int fd) noexcept { return {what::descriptor, fd}; }  // Stays the caller's.
  static constexpr redirect output() noexcept { return {what::output, -1}; }        // Of err only: where out goes.

  friend constexpr bool operator==(const redirect&, const redirect&) noexcept = default;

 private:
  friend struct spawning;
  enum class what : unsigned char { inherited, null, pipe, descriptor, output };
  constexpr redirect(what w, int fd) noexcept : what_(w), fd_(fd) {}

  what what_;
  int fd_;
};

struct process_options {
  redirect in = redirect::inherit();
  redirect out = redirect::inherit();
  redirect err = redirect::inherit();
  std::string directory = {};                                          // Its working directory; empty: ours.
  std::optional<std::vector<std::string>> environment = std::nullopt;  // "NAME=value"; none: ours.
  // The path of a terminal, such as pseudo_terminal::name(); empty: ours. It controls the child, which leads a session
  // of its own (and so a group, as with new_group), and takes the place of the streams that are inherit().
  std::string terminal = {};
  bool new_group = false;  // Leads a process group of its own, which kill_group(), terminate() and ~process() reach.
};

// Owns a child. One fiber, task or thread at a time uses it, but for the functions that say otherwise.
class process {
 public:
  process() noexcept;  // None.
  process(process&&) noexcept;
  process& operator=(process&&) noexcept;  // What it owned before is killed.
  // Kills a child that was not waited for (with new_group: its whole group), does not wait for it, and leaves no
  // zombie.
  ~process();

  // Starts argv[0], which is looked for in our PATH unless it has a slash; a relative path is resolved in the new
  // directory. Does not suspend, but keeps its thread until the child has begun to execute the program. Fails with
  // exec's error, such as errc::no_such_file_or_directory or permission_denied, or with that of making the process;
  // errc::invalid_argument when argv is empty.
  static process spawn(const std::vector<std::string>& argv, const process_options& options = {});
  static process spawn(const std::vector<std::string>& argv, const process_options& options, std::error_code& error);

  bool valid() const noexcept { return child_ != nullptr; }
  int id() const noexcept;             // 0: none. Another process may get it once this one was waited for.
  int native_handle() const noexcept;  // The pidfd; stays owned. -1: none.

  // Suspends until the child has ended; a cancellation point. May be repeated: the status is kept. Several fibers may
  // wait for one child.
  exit_status wait();
  exit_status wait(std::error_code& error);
  // Empty when the time was up.
  template <class Rep, class Period>
  std::optional<exit_status> wait_for(std::chrono::duration<Rep, Period> d) {
    return wait_until_ns(detail::deadline_after(d));
  }
  template <class Rep, class Period>
  std::optional<exit_status> wait_for(std::chrono::duration<Rep, Period> d, std::error_code& error) {
    return wait_until_ns(detail::deadline_after(d), error);
  }
  template <class Clock, class Duration>
  std::optional<exit_status> wait_until(std::chrono::time_point<Clock, Duration> t) {
    return wait_until_ns(detail::deadline_at(t));
  }
  template <class Clock, class Duration>
  std::optional<exit_status> wait_until(std::chrono::time_point<Clock, Duration> t, std::error_code& error) {
    return wait_until_ns(detail::deadline_at(t), error);
  }

  // Sends a signal to the child, or to its group (which needs new_group). Never suspend; any thread, also while others
  // wait. errc::no_such_process once the child was waited for: its number may be another's.
  void kill(int signal);
  void kill(int signal, std::error_code& error) noexcept;
  void kill_group(int signal);
  void kill_group(int signal, std::error_code& error) noexcept;

  // Asks the child (with new_group: the group) to end, with SIGTERM, and kills it when it has not after `grace`; what
  // is left of a group is killed in any case. Suspends until the child has ended. When cancelled, it kills at once.
  exit_status terminate(std::chrono::nanoseconds grace);
  exit_status terminate(std::chrono::nanoseconds grace, std::error_code& error);

  // The child runs on without an owner; it is reaped when it ends. Does not suspend.
  void detach() noexcept;

  // For tasks, with <thrum/task.hpp>: co_await them. Throw or report as the plain calls do.
  task<exit_status> async_wait();
  task<exit_status> async_wait(std::error_code& error);
  template <class Rep, class Period>
  auto async_wait_for(std::chrono::duration<Rep, Period> d) {
    return async_wait_until_ns(detail::deadline_after(d));
  }
  template <class Rep, class Period>
  auto async_wait_for(std::chrono::duration<Rep, Period> d, std::error_code& error) {
    return async_wait_until_ns(detail::deadline_after(d), error);
  }
  template <class Clock, class Duration>
  auto async_wait_until(std::chrono::time_point<Clock, Duration> t) {
    return async_wait_until_ns(detail::deadline_at(t));
  }
  template <class Clock, class Duration>
  auto async_wait_until(std::chrono::time_point<Clock, Duration> t, std::error_code& error) {
    return async_wait_until_ns(detail::deadline_at(t), error);
  }
  task<exit_status> async_terminate(std::chrono::nanoseconds grace);
  task<exit_status> async_terminate(std::chrono::nanoseconds grace, std::error_code& error);

  // A clause for select(): f() runs when the child has ended, and wait() would not wait.
  template <class F>
  auto on_exit(F f) {
    return detail::condition_clause<F>(describe_exit(), std::move(f));
  }

  // Our ends of the streams that are pipes; the others are closed.
  pipe_writer in;
  pipe_reader out, err;

 private:
  std::optional<exit_status> wait_until_ns(std::int64_t deadline_ns);
  std::optional<exit_status> wait_until_ns(std::int64_t deadline_ns, std::error_code& error);
  task<std::optional<exit_status>> async_wait_until_ns(std::int64_t deadline_ns);
  task<std::optional<exit_status>> async_wait_until_ns(std::int64_t deadline_ns, std::error_code& error);
  detail::select_clause describe_exit();

  std::unique_ptr<detail::child> child_;
};

struct run_limits {
  std::chrono::nanoseconds timeout{0};             // Zero or less: none.
  std::size_t output_max = std::size_t{16} << 20;  // Bytes, of output and of errors each.
};

struct run_result {
  exit_status status;
  std::string output, errors;
};

// Runs a program with `input` as its standard input, collects both its outputs, and waits for it; all three streams are
// served at once, so that nobody waits for the other in a circle. It leads a group of its own, which is killed when the
// call fails: errc::timed_out, or errc::no_buffer_space when there is more output than allowed; the overload with an
// error_code returns what came until then. Of `options` the streams are not used, except that err may be
// redirect::output(). The outputs end when nobody has them open any more: a grandchild that keeps them is waited for.
// Suspends; a cancellation point.
run_result run_process(const std::vector<std::string>& argv, std::string_view input = {}, const run_limits& limits = {},
                       const process_options& options = {});
run_result run_process(const std::vector<std::string>& argv, std::string_view input, const run_limits& limits,
                       const process_options& options, std::error_code& error);
// For tasks: co_await it. (GCC 12 compiles no braced lists in what is awaited: give it variables.)
task<run_result> async_run_process(std::vector<std::string> argv, std::string input = std::string(),
                                   run_limits limits = run_limits(), process_options options = process_options());
task<run_result> async_run_process(std::vector<std::string> argv, std::string input, run_limits limits,
                                   process_options options, std::error_code& error);

}  // namespace thrum
