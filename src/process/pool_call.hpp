// One call on its way through a pool, as steps. Who drives it waits between them, as a fiber or thread, or as a task.
//
//   turn      for a worker                      → took()
//   pause     after workers that failed to start → paused()
//   send      bytes to it                       → sent()
//   receive   bytes from it                     → received()
//   end       of a worker that went silent      → ended()
//   done      the message has its answer or its error, and the worker is given back
//
// A worker that ended before it had read all of the call has not begun it: another one gets it. Whatever else goes
// wrong costs this call, and its worker.
#pragma once

#include <cstdint>
#include <span>
#include <system_error>

#include <thrum/process_pool.hpp>

#include "process/pool_core.hpp"

namespace thrum::detail {

enum class call_step { turn, pause, send, receive, end, done };

class pool_call {
 public:
  pool_call(pool_core& pool, const call_limits& limits, remote_message& m) noexcept;
  ~pool_call();
  pool_call(const pool_call&) = delete;
  pool_call& operator=(const pool_call&) = delete;

  // Of the step.
  std::int64_t deadline_ns() const noexcept { return deadline_ns_; }
  pool_worker& worker() noexcept { return *worker_; }
  std::span<const std::byte> to_send() noexcept { return std::span(message_.out.bytes()).subspan(sent_); }
  std::span<std::byte> room() noexcept { return std::span(worker_->buffer).subspan(worker_->have); }

  call_step begin() noexcept { return call_step::turn; }
  call_step took(pool_worker* w, const std::error_code& error);
  call_step paused(const std::error_code& error);
  call_step sent(long n, const std::error_code& error);
  call_step received(long n, const std::error_code& error);
  call_step ended(const std::error_code& error);

 private:
  call_step use_worker();
  call_step start_worker();
  call_step call_worker();
  call_step look_at_answer();
  call_step accept(const frame_header& head);
  call_step interrupted(const std::error_code& error);
  call_step fail(const std::error_code& error);
  call_step lose(const std::error_code& error);
  bool begun() const noexcept;
  std::error_code verdict(const exit_status& s) const noexcept;

  pool_core& pool_;
  const call_limits limits_;
  remote_message& message_;
  pool_worker* worker_ = nullptr;
  std::int64_t deadline_ns_;
  std::size_t sent_ = 0;
  int attempts_ = 0;
};

}  // namespace thrum::detail
