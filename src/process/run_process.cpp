// Running a program to its end, with what it reads and writes.
//
// One loop serves all three streams: moves what can be moved, then waits until more can be. Fibers and tasks wait in a
// select, threads in poll(2).
#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <utility>

#include <poll.h>
#include <unistd.h>

#include <thrum/process.hpp>
#include <thrum/select_list.hpp>
#include <thrum/task.hpp>

#include "process/pipe_calls.hpp"
#include "sched/self.hpp"

namespace thrum {

namespace detail {

class conversation {
 public:
  conversation(process& p, std::string_view input, const run_limits& limits, run_result& result)
      : p_(p), input_(input), limits_(limits), result_(result) {
    if (limits.timeout.count() > 0) deadline_ns_ = detail::deadline_after(limits.timeout);
  }

  // Moves what can be moved. False when all is said, or with an error.
  bool go_on(std::error_code& error);
  void describe(select_list& l);
  void poll_thread() noexcept;
  std::int64_t deadline_ns() const noexcept { return deadline_ns_; }

 private:
  void feed(std::error_code& error);
  void drain(pipe_reader& from, std::string& to, std::error_code& error);

  process& p_;
  std::string_view input_;  // What is still to be sent.
  const run_limits& limits_;
  run_result& result_;
  std::int64_t deadline_ns_ = detail::never;
};

}  // namespace detail

namespace {

using detail::conversation;

struct nothing_to_do {
  void operator()() const noexcept {}
};

// In the clock that wait_until() takes.
std::chrono::steady_clock::time_point when(std::int64_t deadline_ns) noexcept {
  using std::chrono::steady_clock;
  if (deadline_ns == detail::never) return steady_clock::time_point::max();
  return steady_clock::now() + std::chrono::nanoseconds(deadline_ns - detail::now_ns());
}

bool must_wait(int error) noexcept { return error == EAGAIN || error == EINTR; }

process_options for_a_conversation(process_options o) {
  o.in = o.out = redirect::pipe();
  if (o.err != redirect::output()) o.err = redirect::pipe();
  o.new_group = true;
  return o;
}

void cancel_to(std::error_code& error) noexcept { error = std::make_error_code(std::errc::operation_canceled); }

void finish(process& p, const std::optional<exit_status>& status, run_result& result, std::error_code& error) {
  if (status) result.status = *status;
  if (!status && !error) error = std::make_error_code(std::errc::timed_out);
  std::error_code ignored;
  if (error) p.kill_group(SIGKILL, ignored);
}

[[noreturn]] void raise_run(const std::error_code& error, const std::vector<std::string>& argv) {
  if (error == std::errc::operation_canceled) throw cancelled{};
  throw std::system_error(error, "thrum: running " + (argv.empty() ? "nothing" : argv.front()));
}

}  // namespace

void detail::conversation::feed(std::error_code& error) {
  while (p_.in.is_open() && !input_.empty()) {
    const long n = detail::write_call{std::as_bytes(std::span(input_))}(p_.in.native_handle());
    if (n < 0 && must_wait(os::error_number())) return;
    if (n < 0 && os::error_number() != EPIPE) error = detail::last_system_error();
    // It need not read all of it.
    input_.remove_prefix(n < 0 ? input_.size() : static_cast<std::size_t>(n));
  }
  p_.in.close();
}

void detail::conversation::drain(pipe_reader& from, std::string& to, std::error_code& error) {
  std::array<char, 16384> buffer;
  while (from.is_open() && !error) {
    const long n = ::read(from.native_handle(), buffer.data(), buffer.size());
    if (n < 0 && must_wait(os::error_number())) return;
    if (n < 0) error = detail::last_system_error();
    if (n <= 0) from.close();
    if (n <= 0) return;
    const auto room = limits_.output_max - to.size();
    to.append(buffer.data(), std::min(static_cast<std::size_t>(n), room));
    if (static_cast<std::size_t>(n) > room) error = std::make_error_code(std::errc::no_buffer_space);
  }
}

bool detail::conversation::go_on(std::error_code& error) {
  feed(error);
  drain(p_.out, result_.output, error);
  drain(p_.err, result_.errors, error);
  const bool open = p_.in.is_open() || p_.out.is_open() || p_.err.is_open();
  if (open && !error && detail::now_ns() >= deadline_ns_) error = std::make_error_code(std::errc::timed_out);
  return open && !error;
}

void detail::conversation::describe(select_list& l) {
  if (p_.in.is_open()) l.add(p_.in.on_writable(nothing_to_do()));
  if (p_.out.is_open()) l.add(p_.out.on_readable(nothing_to_do()));
  if (p_.err.is_open()) l.add(p_.err.on_readable(nothing_to_do()));
  if (deadline_ns_ != detail::never) l.add(detail::timer_clause<nothing_to_do>(deadline_ns_, {}));
}

void detail::conversation::poll_thread() noexcept {
  std::array<pollfd, 3> all{pollfd{.fd = p_.in.native_handle(), .events = POLLOUT, .revents = 0},
                            pollfd{.fd = p_.out.native_handle(), .events = POLLIN, .revents = 0},
                            pollfd{.fd = p_.err.native_handle(), .events = POLLIN, .revents = 0}};
  int ms = -1;
  if (deadline_ns_ != detail::never) {
    const auto left = std::max<std::int64_t>(deadline_ns_ - detail::now_ns(), 0);
    ms = static_cast<int>(std::min<std::int64_t>(left / 1'000'000 + 1, 1'000'000));
  }
  ::poll(all.data(), all.size(), ms);
}

// ---------------------------------------------------------------------------------------------------------------

run_result run_process(const std::vector<std::string>& argv, std::string_view input, const run_limits& limits,
                       const process_options& options, std::error_code& error) {
  run_result result;
  auto p = process::spawn(argv, for_a_conversation(options), error);
  if (error) return result;
  conversation c(p, input, limits, result);
  const bool on_thread = sched::this_worker() == nullptr;
  try {
    while (c.go_on(error)) {
      if (on_thread) {
        c.poll_thread();
        continue;
      }
      select_list l;
      c.describe(l);
      l.wait();
    }
  } catch (const cancelled&) {
    cancel_to(error);
  }
  std::optional<exit_status> status;
  if (!error) status = p.wait_until(when(c.deadline_ns()), error);
  finish(p, status, result, error);
  return result;
}

run_result run_process(const std::vector<std::string>& argv, std::string_view input, const run_limits& limits,
                       const process_options& options) {
  std::error_code error;
  auto r = run_process(argv, input, limits, options, error);
  if (error) raise_run(error, argv);
  return r;
}

task<run_result> async_run_process(std::vector<std::string> argv, std::string input, run_limits limits,
                                   process_options options, std::error_code& error) {
  run_result result;
  auto p = process::spawn(argv, for_a_conversation(std::move(options)), error);
  if (error) co_return result;
  conversation c(p, input, limits, result);
  try {
    while (c.go_on(error)) {
      select_list l;
      c.describe(l);
      co_await l.async_wait();
    }
  } catch (const cancelled&) {
    cancel_to(error);
  }
  std::optional<exit_status> status;
  if (!error) status = co_await p.async_wait_until(when(c.deadline_ns()), error);
  finish(p, status, result, error);
  co_return result;
}

task<run_result> async_run_process(std::vector<std::string> argv, std::string input, run_limits limits,
                                   process_options options) {
  std::error_code error;
  const std::vector<std::string> name(argv.begin(), argv.begin() + (argv.empty() ? 0 : 1));
  auto r = co_await async_run_process(std::move(argv), std::move(input), limits, std::move(options), error);
  if (error) raise_run(error, name);
  co_return r;
}

}  // namespace thrum
