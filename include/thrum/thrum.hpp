// All of thrum.
#pragma once

#include <thrum/async.hpp>
#include <thrum/barrier.hpp>
#include <thrum/cancelled.hpp>
#include <thrum/channel.hpp>
#include <thrum/channel_ends.hpp>
#include <thrum/concurrent.hpp>
#include <thrum/condition_variable.hpp>
#include <thrum/event.hpp>
#include <thrum/fiber.hpp>
#include <thrum/future.hpp>
#include <thrum/guarded.hpp>
#include <thrum/latch.hpp>
#include <thrum/mutex.hpp>
#include <thrum/net/tcp_listener.hpp>
#include <thrum/net/tcp_stream.hpp>
#include <thrum/once.hpp>
#include <thrum/promise.hpp>
#include <thrum/runtime.hpp>
#include <thrum/scope.hpp>
#include <thrum/select.hpp>
#include <thrum/semaphore.hpp>
#include <thrum/shared_mutex.hpp>
#include <thrum/ticker.hpp>
#include <thrum/wait_group.hpp>
#include <thrum/when.hpp>
