// A worker as its pool sees it: a process, two pipes, a socket for descriptors, and the pipe by whose end it dies.
//
// One call at a time has it, and the pool while none has. kill() alone may come from anybody.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <system_error>
#include <vector>

#include <thrum/detail/spinlock.hpp>
#include <thrum/net/descriptor.hpp>
#include <thrum/pipe.hpp>
#include <thrum/task.hpp>

#include "process/child.hpp"
#include "process/pool_frame.hpp"

namespace thrum::detail {

// Our end of one of the pipes.
class pool_pipe : public pipe_end {
 public:
  pool_pipe() noexcept = default;
  explicit pool_pipe(net::descriptor fd) noexcept : pipe_end(fd.release()) {}

  // How many bytes were moved: at least one, 0 at the end of the pipe, -1 with an error.
  long read(std::span<std::byte> into, std::int64_t deadline_ns, std::error_code& error);
  long write(std::span<const std::byte> from, std::int64_t deadline_ns, std::error_code& error);
  task<long> async_read(std::span<std::byte> into, std::int64_t deadline_ns, std::error_code& error);
  task<long> async_write(std::span<const std::byte> from, std::int64_t deadline_ns, std::error_code& error);

  // The last read has taken all there will be until the next call: so that need not look before it waits.
  void emptied() noexcept { not_ready(direction::reading, before_); }
  int unread() const noexcept;  // Bytes that were written and not read.

 private:
  struct reading;
  template <class Call>
  long on_thread(Call call, short events, std::int64_t deadline_ns, std::error_code& error) const;
  std::uint64_t before_ = 0;  // The word before the last attempt to read.
};

struct worker_start {
  std::uint64_t memory_max;
  std::int64_t cpu_time_max_ns;
};

class pool_worker {
 public:
  pool_worker() noexcept = default;
  ~pool_worker() { forget(); }
  pool_worker(const pool_worker&) = delete;
  pool_worker& operator=(const pool_worker&) = delete;

  bool exists() const noexcept { return process_ != nullptr; }

  // Takes as long as executing the program does; then it is still to say hello.
  void start(const worker_start& how, std::error_code& error);
  void kill() noexcept;                       // Any thread.
  void forget() noexcept;                     // Kills it, and has it reaped; then there is none.
  void hang_up() noexcept { calls.close(); }  // It ends when it has nothing more to do.

  child& process() noexcept { return *process_; }

  pool_pipe calls, answers;
  net::descriptor descriptors;

  std::uint64_t cookie = 0;
  std::uint64_t sequence = 0;
  bool serves = false;            // It has said hello.
  std::vector<std::byte> buffer;  // Of the answer, of which `have` bytes have come.
  std::size_t have = 0;

 private:
  net::descriptor life_;
  spinlock lock_;                   // Between kill() and who has it, for:
  std::unique_ptr<child> process_;  // Written with the lock held.
};

}  // namespace thrum::detail
