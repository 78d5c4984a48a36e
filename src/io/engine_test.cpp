// The choice of the engine, and what every engine owes a runtime whose workers are stuck in user code.
#include "io/engine.hpp"

#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/uring_poller.hpp"
#include "support.hpp"

namespace thrum::io {
namespace {

using namespace test;

TEST(engine_choice, automatic_is_epoll) {
  const auto c = choose_engine(io_engine_kind::automatic, nullptr);
  EXPECT_EQ(c.kind, io_engine_kind::epoll);
  EXPECT_STREQ(c.reason, "the automatic choice");
}

TEST(engine_choice, the_program_is_overridden_by_the_environment) {
  const auto asked = choose_engine(io_engine_kind::epoll, "");
  EXPECT_EQ(asked.kind, io_engine_kind::epoll);
  EXPECT_STREQ(asked.reason, "asked for by runtime_options");
  const auto overridden = choose_engine(io_engine_kind::io_uring, "epoll");
  EXPECT_EQ(overridden.kind, io_engine_kind::epoll);
  EXPECT_STREQ(overridden.reason, "asked for by THRUM_IO_ENGINE");
}

TEST(engine_choice, a_name_of_no_engine_is_refused) {
  try {
    choose_engine(io_engine_kind::epoll, "kqueue");
    ADD_FAILURE() << "nothing was thrown";
  } catch (const std::invalid_argument& e) {
    EXPECT_STREQ(e.what(), "thrum: THRUM_IO_ENGINE is 'kqueue'; it must be automatic, epoll or io_uring");
  }
}

TEST(engine_choice, a_runtime_tells_it) {
  if (std::getenv("THRUM_IO_ENGINE")) GTEST_SKIP() << "the environment chooses";
  EXPECT_EQ(runtime({.workers = 1}).io_engine().kind, io_engine_kind::epoll);
  if (uring_obstacle()) return;
  EXPECT_EQ(runtime({.workers = 1, .io_engine = io_engine_kind::io_uring}).io_engine().kind, io_engine_kind::io_uring);
}

// From now on io_uring_setup fails in this process with EPERM, as in containers.
void forbid_io_uring() {
  std::array<sock_filter, 4> program{{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  }};
  const sock_fprog filter{.len = program.size(), .filter = program.data()};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0)
    ::_exit(3);
}

TEST(engine_choice, io_uring_where_it_is_forbidden_is_refused_with_the_reason) {
  if (uring_obstacle()) GTEST_SKIP() << "io_uring is not to be had: " << uring_obstacle();
  const pid_t child = ::fork();
  if (child == 0) {
    forbid_io_uring();
    try {
      choose_engine(io_engine_kind::io_uring, nullptr);
    } catch (const std::system_error& e) {
      const auto sentence = std::string_view(e.what());
      const auto expected = std::string_view("but the kernel forbids it to this process");
      ::_exit(e.code() == std::errc::not_supported && sentence.find(expected) != sentence.npos ? 0 : 1);
    }
    ::_exit(2);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

// ---------------------------------------------------------------------------------------------------------------
// One worker, and a fiber that keeps it, after the descriptor has been registered by that very thread.

class stuck_worker : public ::testing::TestWithParam<io_engine_kind> {
 protected:
  void SetUp() override {
    if (GetParam() == io_engine_kind::io_uring && uring_obstacle())
      GTEST_SKIP() << "io_uring is not to be had: " << uring_obstacle();
  }

  // `hog(released)` returns once the descriptor has become readable, which `released` tells, and `release` does more.
  template <class Hog, class Release>
  void run(Hog hog, Release release) {
    with_runtime({.workers = 1, .io_engine = GetParam()}, [&](runtime&) {
      auto [here, there] = net::unix_stream::pair();
      std::atomic<bool> released{false};
      fiber reader = spawn([&, &here = here] {
        std::array<std::byte, 1> one;
        EXPECT_EQ(here.read_some(one), 1u);
        released = true;
        release();
      });
      until_the_others_wait();
      [[maybe_unused]] const auto n = ::write(there.native_handle(), "x", 1);
      hog(released);
      EXPECT_TRUE(released);
      reader.join();
    });
  }
};
INSTANTIATE_TEST_SUITE_P(engines, stuck_worker, ::testing::Values(io_engine_kind::epoll, io_engine_kind::io_uring),
                         [](const auto& one) { return std::string(to_string(one.param)); });

TEST_P(stuck_worker, that_computes_keeps_no_event_back) {
  const auto spin = [](const std::atomic<bool>& released) {
    const auto give_up = clock::now() + hang_guard;
    while (!released && clock::now() < give_up) {
    }
  };
  run(spin, [] {});
}

TEST_P(stuck_worker, that_blocks_keeps_no_event_back_and_is_not_interrupted) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const auto block = [&](const std::atomic<bool>&) {
    char c;
    EXPECT_EQ(::read(ends[0], &c, 1), 1);
  };
  run(block, [&] { EXPECT_EQ(::write(ends[1], "x", 1), 1); });
  ::close(ends[0]);
  ::close(ends[1]);
}

// In vfork(2) the parent sleeps so that nothing but its end ends that.
TEST_P(stuck_worker, that_sleeps_uninterruptibly_keeps_no_event_back) {
  if (under_tsan) GTEST_SKIP() << "ThreadSanitizer makes a fork of it";
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const auto sleep = [&](const std::atomic<bool>&) {
    const pid_t child = ::vfork();
    if (child == 0) {
      char c;
      ::_exit(::read(ends[0], &c, 1) == 1 ? 0 : 1);
    }
    int status = -1;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  };
  run(sleep, [&] { EXPECT_EQ(::write(ends[1], "x", 1), 1); });
  ::close(ends[0]);
  ::close(ends[1]);
}

}  // namespace
}  // namespace thrum::io
