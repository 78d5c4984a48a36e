// The coroutines of process_pool's twins for tasks.
#pragma once

#include <thrum/process_pool.hpp>
#include <thrum/task.hpp>

namespace thrum {

template <class Request>
task<typename Request::result> process_pool::finish(process_pool* pool, call_limits limits, Request r) {
  co_await pool->async_perform(limits, r);
  r.throw_failure();
  co_return r.take();
}

template <class Request>
task<typename Request::answer_type> process_pool::finish(process_pool* pool, call_limits limits, std::error_code& error,
                                                         Request r) {
  co_await pool->async_perform(limits, r);
  error = r.error;
  co_return std::move(r.answer);
}

}  // namespace thrum
