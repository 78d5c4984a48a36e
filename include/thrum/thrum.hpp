// All of thrum.
#pragma once

#include <thrum/cancelled.hpp>
#include <thrum/channel.hpp>
#include <thrum/condition_variable.hpp>
#include <thrum/fiber.hpp>
#include <thrum/mutex.hpp>
#include <thrum/net/tcp_listener.hpp>
#include <thrum/net/tcp_stream.hpp>
#include <thrum/runtime.hpp>
#include <thrum/scope.hpp>
#include <thrum/select.hpp>
#include <thrum/wait_group.hpp>
