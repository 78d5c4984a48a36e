// System calls that write and have no MSG_NOSIGNAL: made so that SIGPIPE is not delivered, and its disposition is left
// alone.
//
// SIGPIPE goes to the thread that writes. While it is blocked it stays there, pending, and can be taken back: a
// thread's own signals are taken before those of the process. Workers block it, so that only a failure costs a call
// more.
#pragma once

#include <csignal>

namespace thrum::net {

class sigpipe_held_back {
 public:
  sigpipe_held_back() noexcept;
  // Of the call made meanwhile; errno is what it has left.
  long result(long n) noexcept;

 private:
  const bool on_worker_;
  bool theirs_ = false;  // One that was pending before is somebody else's, and ours would be merged with it.
  sigset_t before_;
};

template <class Call>
[[gnu::noinline]] long call_quietly(Call call) noexcept {
  sigpipe_held_back held_back;
  return held_back.result(call());
}

}  // namespace thrum::net
