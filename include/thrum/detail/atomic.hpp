// The atomics of the lock-free parts, under names of our own: std's, and nothing else. The checker of weak memory
// (tests/memory_model) puts another header in this one's place, so that it can run these parts as they are.
#pragma once

#include <atomic>

namespace thrum::detail {

using std::atomic;
using std::atomic_thread_fence;

}  // namespace thrum::detail
