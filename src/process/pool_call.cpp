// The steps of a call.
#include "process/pool_call.hpp"

#include <algorithm>
#include <csignal>
#include <cstring>
#include <utility>

#include "process/pipe_calls.hpp"
#include "process/pool_error.hpp"

namespace thrum::detail {
namespace {

constexpr int attempts_max = 3;                                            // With workers that end before they begin.
constexpr std::chrono::nanoseconds silence_max = std::chrono::seconds(1);  // From the end of the pipe to the worker's.
constexpr std::size_t first_piece = 4096, second_piece = 64 * 1024, room_kept = std::size_t{1} << 20;

std::int64_t deadline_for(std::chrono::nanoseconds d) noexcept { return d.count() > 0 ? deadline_after(d) : never; }

}  // namespace

pool_call::pool_call(pool_core& pool, const call_limits& limits, remote_message& m) noexcept
    : pool_(pool), limits_(limits), message_(m), deadline_ns_(deadline_for(limits.patience)) {}

// Of a call that was given up in the middle: by an exception.
pool_call::~pool_call() {
  if (worker_) lose({});
}

call_step pool_call::took(pool_worker* w, const std::error_code& error) {
  worker_ = w;
  return w ? use_worker() : fail(error);
}

call_step pool_call::use_worker() {
  if (worker_->exists()) return call_worker();
  if (sched::now_ns() >= pool_.next_start_ns()) return start_worker();
  deadline_ns_ = pool_.next_start_ns();
  return call_step::pause;
}

call_step pool_call::paused(const std::error_code& error) { return error ? fail(error) : start_worker(); }

call_step pool_call::start_worker() {
  if (pool_.cancelled()) return fail(pool_error(worker_errc::closed));
  std::error_code error;
  worker_->start({.memory_max = pool_.options.memory_max, .cpu_time_max_ns = pool_.options.cpu_time_max.count()},
                 error);
  pool_.started();
  if (error) pool_.start_failed();
  if (error) return fail(error);
  pool_.exists(+1);
  // cancel() sets its mark before it kills: one of us sees the other.
  if (pool_.cancelled()) return lose(pool_error(worker_errc::closed));
  worker_->buffer.resize(std::max(worker_->buffer.size(), first_piece));
  deadline_ns_ = deadline_for(pool_.options.start_timeout);
  return call_step::receive;
}

call_step pool_call::call_worker() {
  deadline_ns_ = deadline_for(limits_.timeout.count() > 0 ? limits_.timeout : pool_.options.timeout);
  worker_->have = 0;
  sent_ = 0;
  auto& descriptors = message_.out.descriptors();
  auto& bytes = message_.out.bytes();
  const frame_header head{.cookie = worker_->cookie,
                          .sequence = ++worker_->sequence,
                          .size = bytes.size() - sizeof(frame_header),
                          .kind = frame_kind::call,
                          .descriptors = static_cast<std::uint32_t>(descriptors.size())};
  std::memcpy(bytes.data(), &head, sizeof head);
  if (head.descriptors == 0 || send_descriptors(worker_->descriptors.native_handle(), descriptors))
    return call_step::send;
  const auto error = last_system_error();
  return error == std::errc::broken_pipe ? sent(-1, error) : fail(error);
}

call_step pool_call::sent(long n, const std::error_code& error) {
  if (n >= 0) sent_ += static_cast<std::size_t>(n);
  if (n >= 0) return sent_ < message_.out.bytes().size() ? call_step::send : call_step::receive;
  if (error != std::errc::broken_pipe) return interrupted(error);
  deadline_ns_ = deadline_after(silence_max);
  return call_step::end;
}

call_step pool_call::received(long n, const std::error_code& error) {
  if (n < 0) return interrupted(error);
  if (n > 0) {
    worker_->have += static_cast<std::size_t>(n);
    return look_at_answer();
  }
  deadline_ns_ = deadline_after(silence_max);
  return call_step::end;
}

call_step pool_call::look_at_answer() {
  auto& w = *worker_;
  if (w.have < sizeof(frame_header)) return call_step::receive;
  frame_header head;
  std::memcpy(&head, w.buffer.data(), sizeof head);
  const auto expected = w.serves ? w.sequence : 0;
  if (head.cookie != w.cookie || head.sequence != expected || head.size > pool_.options.answer_max ||
      head.descriptors > descriptors_max || (head.kind == frame_kind::hello) == w.serves)
    return lose(pool_error(worker_errc::bad_answer));
  const auto size = sizeof head + head.size;
  if (w.have > size) return lose(pool_error(worker_errc::bad_answer));
  if (w.have == size) return accept(head);
  // Room for what was announced, but not for all of it before it comes.
  if (w.have == w.buffer.size()) w.buffer.resize(std::min(size, std::max(2 * w.have, second_piece)));
  return call_step::receive;
}

call_step pool_call::accept(const frame_header& head) {
  auto& w = *worker_;
  w.answers.emptied();
  if (!w.serves) {
    w.serves = true;
    pool_.start_succeeded();
    return call_worker();
  }
  const auto payload = std::span<const std::byte>(w.buffer.data(), w.have).subspan(sizeof head);
  switch (head.kind) {
    case frame_kind::result: {
      std::vector<net::descriptor> descriptors;
      const int socket = w.descriptors.native_handle();
      if (head.descriptors > 0 && !receive_descriptors(socket, head.descriptors, descriptors)) break;
      try {
        wire_reader in(payload, descriptors);
        message_.accept(in);
      } catch (const wire_error&) {
        break;
      }
      return fail({});
    }
    case frame_kind::exception:
      message_.text.assign(reinterpret_cast<const char*>(payload.data()), payload.size());
      return fail(pool_error(worker_errc::exception));
    case frame_kind::bad_arguments:
      return fail(pool_error(worker_errc::bad_arguments));
    case frame_kind::out_of_memory:
      return lose(pool_error(worker_errc::memory_limit));
    default:
      break;
  }
  return lose(pool_error(worker_errc::bad_answer));
}

// By the deadline, a cancellation, or a system that fails.
call_step pool_call::interrupted(const std::error_code& error) {
  if (error != std::errc::timed_out) return lose(error);
  if (worker_->serves) return lose(pool_error(worker_errc::timed_out));
  pool_.start_failed();
  return lose(pool_error(worker_errc::failed_start));
}

// What the worker has not read is still in the pipe, though nobody is left to read it.
bool pool_call::begun() const noexcept { return sent_ == message_.out.bytes().size() && worker_->calls.unread() == 0; }

call_step pool_call::ended(const std::error_code& error) {
  if (pool_.cancelled()) return lose(pool_error(worker_errc::closed));
  if (error == std::errc::timed_out) return lose(pool_error(worker_errc::disconnected));
  if (error && error != std::errc::no_child_process) return lose(error);
  const auto cause = error ? pool_error(worker_->serves ? worker_errc::killed : worker_errc::failed_start)
                           : verdict(worker_->process().status());
  if (!worker_->serves) {
    pool_.start_failed();
    return lose(cause);
  }
  if (begun() || ++attempts_ == attempts_max) return lose(cause);
  worker_->forget();
  pool_.exists(-1);
  return use_worker();
}

std::error_code pool_call::verdict(const exit_status& s) const noexcept {
  if (!worker_->serves) return pool_error(worker_errc::failed_start, s);
  if (s.signal_number() == SIGXCPU && pool_.options.cpu_time_max.count() > 0)
    return pool_error(worker_errc::cpu_limit, s);
  return pool_error(s.signaled() ? worker_errc::killed : worker_errc::exited, s);
}

// The worker goes with the call.
call_step pool_call::lose(const std::error_code& error) {
  worker_->forget();
  pool_.exists(-1);
  return fail(error);
}

// The worker, if there is one, stays.
call_step pool_call::fail(const std::error_code& error) {
  message_.error = error;
  if (worker_ && worker_->buffer.size() > room_kept) worker_->buffer = std::vector<std::byte>(first_piece);
  if (worker_) pool_.give_back(*std::exchange(worker_, nullptr));
  return call_step::done;
}

}  // namespace thrum::detail
