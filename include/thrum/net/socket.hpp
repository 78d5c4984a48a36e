// What all sockets share: a descriptor that blocks the fiber, not the thread; deadlines; closing.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <system_error>
#include <utility>

#include <thrum/detail/deadline.hpp>
#include <thrum/detail/select_core.hpp>
#include <thrum/detail/shared_descriptor.hpp>
#include <thrum/detail/spinlock.hpp>
#include <thrum/net/options.hpp>

namespace thrum {
template <class T>
class task;
}

namespace thrum::sched {
struct begun_call;
class fd_watch;
struct found_watch;
class scheduler;
}  // namespace thrum::sched

namespace thrum {
struct file_sending;
namespace detail {
struct splicing;
}
}  // namespace thrum

namespace thrum::net {

class patience;

// Owns a descriptor. One fiber or task may read while another writes, and anybody may close it meanwhile. Movable while
// no operation is under way.
class socket {
 public:
  socket() noexcept = default;
  socket(socket&& other) noexcept { swap(other); }
  socket& operator=(socket&& other) noexcept {
    socket moved(std::move(other));
    swap(moved);
    return *this;
  }
  ~socket() { close(); }

  bool is_open() const noexcept { return native_handle() >= 0; }
  // Stays owned; it is in non-blocking mode. -1: none.
  int native_handle() const noexcept { return descriptor_.number(); }

  // Every operation from now on fails with errc::timed_out once the time has come, until another deadline is
  // set. What had come by then is delivered all the same to who waits to read or to accept.
  template <class Clock, class Duration>
  void set_deadline(std::chrono::time_point<Clock, Duration> t) noexcept {
    deadline_ns_ = detail::deadline_at(t);
  }
  void clear_deadline() noexcept { deadline_ns_ = detail::never; }

  // Every single wait of an operation fails with errc::timed_out when it takes longer than this, however often it is
  // woken for what somebody else takes; read_exactly() and write_all() may wait several times. Zero or less: no limit.
  void set_timeout(std::chrono::nanoseconds d) noexcept { timeout_ns_ = d.count() > 0 ? d.count() : 0; }

  // options.hpp names them. Before the socket is shared, or by its one owner.
  template <option_name Name, class Value>
  void set_option(const option<Name, Value>& o) {
    std::error_code error;
    set_option(o, error);
    if (error) raise(error, "thrum: set_option");
  }
  template <option_name Name, class Value>
  void set_option(const option<Name, Value>& o, std::error_code& error) noexcept {
    write_option(Name, static_cast<int>(o.value()), error);
  }
  template <class Option>
  Option get_option() const {
    std::error_code error;
    const Option o = get_option<Option>(error);
    if (error) raise(error, "thrum: get_option");
    return o;
  }
  template <class Option>
  Option get_option(std::error_code& error) const noexcept {
    return Option(static_cast<typename Option::value_type>(read_option(Option::name, error)));
  }

  // Fibers and tasks that wait in an operation on it, or begin one, get errc::bad_file_descriptor. While others are in
  // the middle of a system call on it, the last of them closes the descriptor. May be repeated. Does not suspend.
  void close() noexcept;

 protected:
  friend struct detail::splicing;
  friend struct thrum::file_sending;
  explicit socket(int fd) noexcept : descriptor_(fd) {}
  struct errors_pass {};  // It goes on after an error that the system reports.
  socket(int fd, errors_pass) noexcept : descriptor_(fd), errors_pass_(true) {}

  void write_option(option_name name, int value, std::error_code& error) noexcept;
  int read_option(option_name name, std::error_code& error) const noexcept;

  enum class direction : unsigned char { reading, writing };

  // While it lives, the descriptor is not closed: what is around each system call of an operation.
  class use {
   public:
    explicit use(socket& s) noexcept : of_(s), fd_(s.descriptor_.enter()) {}
    ~use() {
      if (fd_ >= 0 && of_.descriptor_.leave()) of_.finish_closing();
    }
    use(const use&) = delete;
    int fd() const noexcept { return fd_; }  // -1: there is none any more.

   private:
    socket& of_;
    const int fd_;
  };

  // How an operation went: what the system call returned, or an errno value negated. -EAGAIN: there is nothing to be
  // had now. An attempt is a system call on the descriptor that it is given, which returns -1 with errno set when it
  // fails; it may want the direction's word from before, too.
  template <class Attempt>
  long attempt_once(direction d, Attempt& attempt, bool asks_kernel = false);
  // After a wait that timed out, which is what it tells when there is nothing still.
  template <class Attempt>
  long attempt_late(Attempt& attempt);
  // Attempts until it succeeds, or fails with something other than EAGAIN, and waits in between; ECANCELED included. A
  // deadline given here is the call's own.
  template <class Attempt>
  long operate(const sched::begun_call& call, direction d, Attempt& attempt, std::int64_t deadline_ns = detail::never);
  // The same for tasks: while (!co_await operation) {}
  template <class Attempt>
  struct async_operation;

  // The same; -1 and `error` when it fails.
  template <class Attempt>
  long perform(direction d, std::error_code& error, Attempt attempt, std::int64_t deadline_ns = detail::never);
  template <class Attempt>
  task<long> async_perform(direction d, std::error_code& error, Attempt attempt,
                           std::int64_t deadline_ns = detail::never);

  // The same, and when it fails with a passing error, pauses and tries again.
  using is_passing = bool (*)(const std::error_code&);
  template <class Attempt>
  long perform_patiently(direction d, std::error_code& error, Attempt attempt, is_passing passing);
  template <class Attempt>
  task<long> async_perform_patiently(direction d, std::error_code& error, Attempt attempt, is_passing passing);

  static sched::begun_call begin_call() noexcept;  // Not inline: libraries beside this one cannot see the worker.
  bool begin(std::error_code& error) noexcept;
  bool async_begin(std::error_code& error);
  // How long the waits of an operation may take. Who was woken for nothing, since another took what there was or there
  // was nothing, waits for the rest of the time.
  struct wait_limit {
    std::int64_t own_deadline_ns = detail::never;  // The call's, beside the socket's.
    std::int64_t until_ns = 0;                     // The wait's; 0: it has not begun.
    std::size_t moved = 0;                         // By attempts that have failed in the end.
  };
  template <class Attempt>
  static void note_progress(wait_limit& l, const Attempt& attempt) noexcept;
  bool begin_or_go_on(wait_limit& l) const noexcept;  // False: the time is over.
  bool wait_ready(direction d, std::error_code& error, wait_limit& l);
  bool wait_ready(direction d, std::error_code& error);
  // Waiting in a call that has begun. 0, or an errno value; why_unusable() too.
  int wait_ready(const sched::begun_call& call, direction d, wait_limit& l);
  int why_unusable() const noexcept;
  struct readiness;
  bool begin_wait_ready(readiness& r);
  detail::select_clause describe(direction d);
  // Where no event tells when to try again. False: with `error`, the wait is over.
  bool pause(patience& p, std::error_code& error);
  task<bool> async_pause(patience& p, std::error_code& error);
  bool begin_pause(patience& p, std::error_code& error);
  static bool end_pause(const patience& p, std::error_code& error);
  int end_wait_ready(readiness& r);
  // None, with an errno value, when there is none to be had.
  sched::found_watch watch_for(sched::scheduler& home, int& failure);
  sched::found_watch make_watch(sched::scheduler& home, int& failure);
  int release() noexcept;  // Gives the descriptor away, while nobody else uses it.
  void finish_closing() noexcept;
  std::int64_t wait_deadline_ns() const noexcept;
  std::uint64_t word(direction d) const noexcept;
  void not_ready(direction d, std::uint64_t before) noexcept;
  bool known_not_ready(direction d) const noexcept;
  [[noreturn]] static void raise(const std::error_code& error, const char* what);
  [[noreturn]] static void raise(int failure, const char* what);
  static bool report(int failure, std::error_code& error) noexcept;  // False: `failure` is an errno value, not 0.
  void swap(socket& other) noexcept {
    descriptor_.swap(other.descriptor_);
    other.watch_.store(watch_.exchange(other.watch_.load()));
    std::swap(deadline_ns_, other.deadline_ns_);
    std::swap(timeout_ns_, other.timeout_ns_);
    std::swap(errors_pass_, other.errors_pass_);
  }

  detail::shared_descriptor descriptor_;
  std::atomic<sched::fd_watch*> watch_{nullptr};  // From the first wait on; created under watch_lock_.
  detail::spinlock watch_lock_;
  bool errors_pass_ = false;  // Constant after construction.
  std::int64_t deadline_ns_ = detail::never;
  std::int64_t timeout_ns_ = 0;
};

}  // namespace thrum::net
