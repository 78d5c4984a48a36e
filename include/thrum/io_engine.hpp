// Through which interface of the kernel a runtime waits for descriptors: its engine. Programs behave the same with
// both.
//
//   thrum::runtime rt({.io_engine = thrum::io_engine_kind::io_uring});
//   log(rt.io_engine().reason);
//
// The environment variable THRUM_IO_ENGINE (automatic, epoll or io_uring) overrides what the program says.
//
//   epoll      an epoll instance per worker; everywhere.
//   io_uring   a ring per worker, with multishot polls, and a thread per worker that owns them. Needs Linux 6.13, leave
//              to use it (kernel.io_uring_disabled, seccomp filters of containers), and a library built with liburing.
//   automatic  epoll, which mostly cost less CPU time (docs/decisions/0024-a-keeper-for-each-ring.md).
#pragma once

namespace thrum {

enum class io_engine_kind { automatic, epoll, io_uring };

struct io_engine_choice {
  io_engine_kind kind = io_engine_kind::automatic;  // Of a runtime: never automatic, unless it is simulated.
  const char* reason = "";                          // Who chose it, in a few words; lives for ever.
};

const char* to_string(io_engine_kind k) noexcept;

}  // namespace thrum
