// The category of a pool's errors. Its values are a condition and, above it, how the worker has ended.
#include <thrum/worker_error.hpp>

#include <cstring>

#include "process/pool_error.hpp"

namespace thrum {
namespace {

constexpr int code_shift = 8, by_signal = 1 << 16, by_exit = 1 << 17, condition_bits = 0xff;

std::string signal_text(int number) {
  const char* name = ::sigabbrev_np(number);
  return "signal " + std::to_string(number) + (name ? std::string(" (SIG") + name + ")" : "");
}

std::string ending_text(int value) {
  const int code = value >> code_shift & 0xff;
  if (value & by_signal) return "was ended by " + signal_text(code);
  if (value & by_exit) return "exited with status " + std::to_string(code);
  return "ended, it is not known how: the program has its children's statuses taken away";
}

class category final : public std::error_category {
 public:
  const char* name() const noexcept override { return "thrum::process_pool"; }

  std::string message(int value) const override {
    switch (static_cast<worker_errc>(value & condition_bits)) {
      case worker_errc::exited:
      case worker_errc::killed:
        return "the worker " + ending_text(value) + " during the call";
      case worker_errc::timed_out:
        return "the call took too long, and its worker was killed";
      case worker_errc::not_begun:
        return "no worker was free in time";
      case worker_errc::cpu_limit:
        return "the call used more CPU time than allowed, and its worker was killed";
      case worker_errc::memory_limit:
        return "the call needed more memory than allowed";
      case worker_errc::exception:
        return "the function threw an exception";
      case worker_errc::bad_answer:
        return "the worker sent something that is no answer, and was killed";
      case worker_errc::bad_arguments:
        return "the worker does not know the function, or could not read its arguments";
      case worker_errc::disconnected:
        return "the worker closed its pipe without ending, and was killed";
      case worker_errc::failed_start:
        if ((value & (by_signal | by_exit)) == 0) return "the worker did not come up in time, and was killed";
        return "the worker " + ending_text(value) + " before it served";
      case worker_errc::queue_full:
        return "too many calls are waiting";
      case worker_errc::closed:
        return "the pool takes no more calls";
    }
    return "unknown";
  }

  std::error_condition default_error_condition(int value) const noexcept override {
    return {value & condition_bits, *this};
  }

  bool equivalent(int value, const std::error_condition& c) const noexcept override {
    if (c == default_error_condition(value)) return true;
    switch (static_cast<worker_errc>(value & condition_bits)) {
      case worker_errc::timed_out:
      case worker_errc::not_begun:
        return c == std::errc::timed_out;
      case worker_errc::memory_limit:
        return c == std::errc::not_enough_memory;
      case worker_errc::queue_full:
        return c == std::errc::resource_unavailable_try_again;
      default:
        return false;
    }
  }
};

bool is_ours(const std::error_code& error) noexcept { return error.category() == worker_category(); }

}  // namespace

const std::error_category& worker_category() noexcept {
  static const category the_category;
  return the_category;
}

int signal_of(const std::error_code& error) noexcept {
  return is_ours(error) && (error.value() & by_signal) ? error.value() >> code_shift & 0xff : 0;
}

int exit_code_of(const std::error_code& error) noexcept {
  return is_ours(error) && (error.value() & by_exit) ? error.value() >> code_shift & 0xff : -1;
}

std::error_code detail::pool_error(worker_errc e) noexcept { return {static_cast<int>(e), worker_category()}; }

std::error_code detail::pool_error(worker_errc e, const exit_status& s) noexcept {
  const int ending = s.signaled() ? s.signal_number() << code_shift | by_signal : s.code() << code_shift | by_exit;
  return {static_cast<int>(e) | ending, worker_category()};
}

}  // namespace thrum
