// The worker pool: a scope of fibers that receive from a channel, in a fiber of its own that waits for them.
//
// Room is counted by a semaphore whose permits are held from before a job is made until it has ended, so the channel,
// which has room for all of them, never makes anybody wait. Closing releases permits in abundance: whoever waits for
// room then finds the channel closed.
#include <thrum/worker_pool.hpp>

#include <mutex>

#include <thrum/concurrent.hpp>

#include "base/assert.hpp"

namespace thrum {
namespace {

constexpr std::ptrdiff_t abundance = std::ptrdiff_t{1} << 40;  // More than fibers or threads can wait.

std::size_t fibers_of(const worker_pool_options& o) noexcept {
  return o.fibers != 0 ? o.fibers : detail::processor_count();
}

}  // namespace

worker_pool::worker_pool(const worker_pool_options& options)
    : room_(static_cast<std::ptrdiff_t>(fibers_of(options) + options.queue)),
      jobs_(fibers_of(options) + options.queue) {
  supervisor_ = spawn({.name = "worker_pool"}, [this, fibers = fibers_of(options)] { supervise(fibers); });
}

void worker_pool::supervise(std::size_t fibers) {
  struct clean_up {
    worker_pool& pool;
    ~clean_up() {
      pool.close();
      pool.drop_jobs();
    }
  } at_the_end{*this};
  scope s;
  struct publication {
    worker_pool& pool;
    publication(worker_pool& p, scope& s) : pool(p) {
      std::lock_guard held(pool.lock_);
      pool.scope_ = &s;
      if (pool.cancelled_) s.cancel();
    }
    ~publication() {
      std::lock_guard held(pool.lock_);
      pool.scope_ = nullptr;
    }
  } published(*this, s);
  for (std::size_t i = 0; i < fibers; ++i) s.go([this] { work(); });
  s.join();
}

void worker_pool::work() {
  while (auto job = jobs_.receive()) {
    struct room_for_another {
      counting_semaphore<>& room;
      ~room_for_another() { room.release(); }
    } after_the_job{room_};
    const auto mine = std::move(*job);
    try {
      mine->run();
    } catch (const cancelled&) {
      if (this_fiber::stop_requested()) throw;
    } catch (...) {
      close();  // At once: the scope cancels the others, but who submits is not in it.
      throw;
    }
  }
}

// Also when everything is cancelled; a scope that shields from it would need memory.
void worker_pool::drop_jobs() noexcept {
  auto& jobs = *detail::channel_access::core(jobs_);
  detail::element_storage<std::unique_ptr<detail::pool_job>> job;
  while (detail::channel_take(jobs, job.address()) == detail::channel_result::done) (void)job.take();
}

void worker_pool::send(std::unique_ptr<detail::pool_job> job) {
  try {
    [[maybe_unused]] const bool sent = jobs_.try_send(std::move(job));
    THRUM_ASSERT(sent);
  } catch (const channel_closed&) {
    throw worker_pool_closed();
  }
}

bool worker_pool::refused() const {
  if (jobs_.closed()) throw worker_pool_closed();
  return false;
}

// Whoever returns from here finds the channel closed: a job that came later would not be dropped by the supervisor.
void worker_pool::close() noexcept {
  if (detail::channel_close(detail::channel_access::core(jobs_))) room_.release(abundance);
}

void worker_pool::join() {
  close();
  if (supervisor_.joinable()) supervisor_.join();
}

void worker_pool::cancel() noexcept {
  close();
  std::lock_guard held(lock_);
  cancelled_ = true;
  if (scope_) scope_->cancel();
}

}  // namespace thrum
