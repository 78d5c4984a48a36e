// What went wrong with a call in a process_pool.
//
//   try {
//     use(pool.call(parse, text));
//   } catch (const thrum::worker_error& e) {
//     if (e.code() == thrum::worker_errc::killed) log(e.what());   // "… ended by signal 11 (SEGV)"
//   }
//
// The error_code says all of it: its condition, and the signal's number or the exit status.
#pragma once

#include <string>
#include <system_error>
#include <type_traits>

namespace thrum {

// Conditions to compare an error_code with.
enum class worker_errc {
  exited = 1,     // The worker ended by exit() during the call: exit_code_of() tells with what.
  killed,         // A signal ended it: signal_of() tells which.
  timed_out,      // The call took longer than its time-out, and its worker was killed. Also errc::timed_out.
  not_begun,      // No worker was free before the call's patience had ended; it never ran. Also errc::timed_out.
  cpu_limit,      // The call used more CPU time than allowed, and its worker was killed.
  memory_limit,   // It needed more memory than allowed: std::bad_alloc. Also errc::not_enough_memory.
  exception,      // The function threw: worker_error::text() tells what. The worker goes on.
  bad_answer,     // What the worker sent is no answer: it has overwritten something. It was killed.
  bad_arguments,  // The worker could not make the arguments of the bytes, or does not know the function.
  disconnected,   // The worker closed its pipe, but did not end. It was killed.
  failed_start,   // The worker ended before it could serve, or did not come up in time; the call never ran.
  queue_full,     // queue_max calls were waiting already. Also errc::resource_unavailable_try_again.
  closed,         // The pool takes no more calls, or was cancelled while this one ran.
};

const std::error_category& worker_category() noexcept;
inline std::error_condition make_error_condition(worker_errc e) noexcept {
  return {static_cast<int>(e), worker_category()};
}

// Of an error of this category; 0 and -1 where there is none.
int signal_of(const std::error_code& error) noexcept;
int exit_code_of(const std::error_code& error) noexcept;

class worker_error : public std::system_error {
 public:
  worker_error(const std::error_code& error, const std::string& text)
      : std::system_error(error, text.empty() ? "thrum: process_pool" : "thrum: process_pool: " + text), text_(text) {}
  // Of worker_errc::exception: the type of what was thrown and its what(). Otherwise empty.
  const std::string& text() const noexcept { return text_; }

 private:
  std::string text_;
};

}  // namespace thrum

template <>
struct std::is_error_condition_enum<thrum::worker_errc> : std::true_type {};
