// All of thrum.
#pragma once

#include <thrum/barrier.hpp>
#include <thrum/cancelled.hpp>
#include <thrum/channel.hpp>
#include <thrum/concurrent.hpp>
#include <thrum/condition_variable.hpp>
#include <thrum/context_value.hpp>
#include <thrum/event.hpp>
#include <thrum/fiber.hpp>
#include <thrum/fiber_local.hpp>
#include <thrum/guarded.hpp>
#include <thrum/latch.hpp>
#include <thrum/mutex.hpp>
#include <thrum/net/tcp_listener.hpp>
#include <thrum/net/tcp_stream.hpp>
#include <thrum/once.hpp>
#include <thrum/rate_limiter.hpp>
#include <thrum/retry.hpp>
#include <thrum/runtime.hpp>
#include <thrum/scope.hpp>
#include <thrum/select.hpp>
#include <thrum/semaphore.hpp>
#include <thrum/shared_mutex.hpp>
#include <thrum/started.hpp>
#include <thrum/wait_group.hpp>
#include <thrum/worker_pool.hpp>
