// What call_ring.hpp promises. The ring itself minds neither pipes nor sockets, so here an operation ends when the test
// wants it to.
#include "blocking/call_ring.hpp"

#include <array>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "blocking/pool.hpp"
#include "os/thread.hpp"
#include "support.hpp"

namespace thrum {
namespace {

using namespace test;
using detail::ring_operation;

struct pipe_ends {
  pipe_ends() { EXPECT_EQ(::pipe2(fd.data(), O_CLOEXEC), 0); }
  ~pipe_ends() {
    ::close(fd[0]);
    ::close(fd[1]);
  }
  void put(const std::string& text) const {
    EXPECT_EQ(::write(fd[1], text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  bool is_empty() const {
    int bytes = -1;
    return ::ioctl(fd[0], FIONREAD, &bytes) == 0 && bytes == 0;
  }

  std::array<int, 2> fd{-1, -1};
};

// Reads until it has so many bytes, or there are no more.
struct read_request : detail::offloaded, detail::ring_request {
  read_request(int fd, std::size_t wanted)
      : offloaded(&read_by_thread),
        ring_request{
            .settle = &settle_one, .call = *this, .operation = {.what = ring_operation::kind::read, .fd = fd}} {
    operation.data = text.data();
    operation.size = wanted;
  }

  static bool settle_one(ring_request& r, int result) noexcept {
    auto& self = static_cast<read_request&>(r);
    ++self.operations;
    if (result <= 0) {
      self.end = result;
      return false;
    }
    self.got += static_cast<std::size_t>(result);
    self.operation.data = self.text.data() + self.got;
    self.operation.size -= static_cast<std::size_t>(result);
    return self.operation.size > 0;
  }
  static void read_by_thread(offloaded& o) noexcept {
    auto& self = static_cast<read_request&>(o);
    self.got = static_cast<std::size_t>(::read(self.operation.fd, self.operation.data, self.operation.size));
  }

  bool is_done() {
    std::lock_guard held(finished.lock);
    return done;
  }
  bool ends() {
    return eventually([this] { return is_done(); });
  }

  std::array<char, 16> text{};
  std::size_t got = 0;
  int operations = 0;
  int end = 1;
};

class call_ring_test : public ::testing::Test {
 protected:
  void SetUp() override {
    const pipe_ends p;
    p.put("x");
    read_request first(p.fd[0], 1);
    if (!ring.submit(first)) GTEST_SKIP() << ring.choice().reason;
    EXPECT_TRUE(first.ends());
    if (!ring.choice().is_ring) GTEST_SKIP() << ring.choice().reason;
    EXPECT_TRUE(first.was_made);
    before = statistics();
  }
  void TearDown() override { ring.end_thread(); }

  blocking_statistics statistics() {
    blocking_statistics s;
    ring.add_to(s);
    return s;
  }

  detail::call_ring ring;
  blocking_statistics before;
};

TEST_F(call_ring_test, operations_follow_one_another_until_the_call_has_all_that_it_wants) {
  const pipe_ends p;
  read_request r(p.fd[0], 6);
  EXPECT_TRUE(ring.submit(r));
  for (const char* part : {"ab", "cd", "ef"}) {
    EXPECT_FALSE(r.is_done());
    p.put(part);
    EXPECT_TRUE(eventually([&] { return p.is_empty(); }));
  }
  EXPECT_TRUE(r.ends());
  EXPECT_EQ(std::string(r.text.data(), r.got), "abcdef");
  EXPECT_EQ(r.operations, 3);
  EXPECT_EQ(statistics().completed, before.completed + 1);
}

TEST_F(call_ring_test, failures_are_told_to_the_call) {
  read_request none(-1, 1);
  EXPECT_TRUE(ring.submit(none));
  EXPECT_TRUE(none.ends());
  EXPECT_EQ(none.end, -EBADF);
  EXPECT_TRUE(none.was_made);
}

// 1,024 fill the kernel; whoever comes then waits here, and may leave.
TEST_F(call_ring_test, what_the_kernel_has_not_got_can_be_withdrawn) {
  constexpr std::size_t room = 1024;
  const pipe_ends full, other;
  std::vector<std::unique_ptr<read_request>> all;
  for (std::size_t i = 0; i < room; ++i)
    EXPECT_TRUE(ring.submit(*all.emplace_back(std::make_unique<read_request>(full.fd[0], 1))));
  EXPECT_TRUE(eventually([&] { return statistics().running == room; }));
  read_request waits(other.fd[0], 1), leaves(other.fd[0], 1);
  EXPECT_TRUE(ring.submit(leaves));
  EXPECT_TRUE(ring.submit(waits));
  EXPECT_EQ(statistics().queued, 2u);
  EXPECT_FALSE(ring.withdraw(*all.front()));
  EXPECT_TRUE(ring.withdraw(leaves));
  EXPECT_FALSE(ring.withdraw(leaves));
  other.put("y");
  full.put(std::string(room, 'x'));
  for (auto& r : all) {
    EXPECT_TRUE(r->ends());
    EXPECT_EQ(r->got, 1u);
  }
  EXPECT_TRUE(waits.ends());
  EXPECT_FALSE(leaves.is_done());
  EXPECT_EQ(statistics().completed, before.completed + room + 1);
  EXPECT_EQ(statistics().withdrawn, before.withdrawn + 1);
}

TEST_F(call_ring_test, its_thread_ends_when_it_has_nothing_to_do_and_comes_again_with_the_next_call) {
  for (int round = 0; round < 20; ++round) {
    ring.end_thread();
    EXPECT_FALSE(ring.choice().is_ring);
    const pipe_ends p;
    read_request r(p.fd[0], 1);
    EXPECT_TRUE(ring.submit(r));
    p.put("z");
    EXPECT_TRUE(r.ends());
    EXPECT_TRUE(ring.choice().is_ring);
  }
}

TEST_F(call_ring_test, without_a_thread_the_pool_makes_the_call_and_the_next_tries_again) {
  ring.end_thread();
  const pipe_ends p;
  p.put("abc");
  run([&] {
    blocking([] {});  // The pool has a thread.
    os::limit_threads(0);
    read_request by_pool(p.fd[0], 1);
    EXPECT_TRUE(ring.submit(by_pool));
    EXPECT_TRUE(by_pool.ends());
    os::limit_threads(-1);
    EXPECT_FALSE(by_pool.was_made);
    EXPECT_EQ(by_pool.text[0], 'a');
    EXPECT_STREQ(ring.choice().reason, "there is no thread for it");
  });
  read_request by_ring(p.fd[0], 1);
  EXPECT_TRUE(ring.submit(by_ring));
  EXPECT_TRUE(by_ring.ends());
  EXPECT_TRUE(by_ring.was_made);
}

TEST_F(call_ring_test, the_environment_may_ask_for_the_pool) {
  const pipe_ends p;
  p.put("abc");
  ::setenv("THRUM_FILE_ENGINE", "pool", 1);
  detail::call_ring refused;
  run([&] {
    read_request first(p.fd[0], 1), second(p.fd[0], 1);
    EXPECT_TRUE(refused.submit(first));  // Passed on.
    EXPECT_TRUE(first.ends());
    EXPECT_FALSE(first.was_made);
    EXPECT_FALSE(refused.submit(second));
  });
  EXPECT_STREQ(refused.choice().reason, "asked for by THRUM_FILE_ENGINE");
  ::setenv("THRUM_FILE_ENGINE", "rings", 1);
  detail::call_ring misspelt;
  read_request third(p.fd[0], 1);
  ::testing::internal::CaptureStderr();
  EXPECT_TRUE(misspelt.submit(third));
  EXPECT_TRUE(third.ends());
  EXPECT_EQ(::testing::internal::GetCapturedStderr(),
            "thrum: THRUM_FILE_ENGINE is 'rings'; it must be automatic, io_uring or pool, and counts as automatic\n");
  EXPECT_TRUE(third.was_made);
  misspelt.end_thread();
  ::unsetenv("THRUM_FILE_ENGINE");
}

// Many bring calls at a time, and the thread falls asleep between them.
TEST_F(call_ring_test, no_wake_up_is_lost) {
  std::vector<std::thread> callers;
  for (int c = 0; c < 4; ++c)
    callers.emplace_back([this] {
      const pipe_ends p;
      for (int i = 0; i < 500; ++i) {
        read_request r(p.fd[0], 1);
        EXPECT_TRUE(ring.submit(r));
        p.put("x");
        while (!r.is_done()) os::yield_thread();
      }
    });
  for (auto& c : callers) c.join();
  EXPECT_EQ(statistics().completed, before.completed + 2000);
}

}  // namespace
}  // namespace thrum
