// The choice between the engines.
#pragma once

#include <memory>

#include <thrum/io_engine.hpp>

#include "sched/seams.hpp"

namespace thrum::io {

// `asked` by the program, and what the environment says over its head, if anything. Throws std::invalid_argument when
// that names no engine, and std::system_error when io_uring was asked for and is not to be had: with the reason.
io_engine_choice choose_engine(io_engine_kind asked, const char* environment);

// Of a chosen engine. Throws std::system_error when descriptors, memory or threads are exhausted.
std::unique_ptr<sched::poller> make_poller(io_engine_kind chosen);

}  // namespace thrum::io
