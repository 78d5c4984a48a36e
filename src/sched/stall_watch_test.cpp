// What stall.hpp promises.
#include <thrum/stall.hpp>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <future>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "context/unwind.hpp"
#include "os/thread.hpp"
#include "runtime/stall_setting.hpp"
#include "support.hpp"

// With external linkage: functions whose names the tests look for in stacks.
namespace thrum::stall_watch_test {

[[gnu::noinline]] void compute_here(const std::atomic<bool>& over) {
  while (!over.load(std::memory_order_relaxed)) {
  }
}
[[gnu::noinline]] void compute_below(const std::atomic<bool>& over, int depth) {
  char frame[512];
  std::memset(frame, depth, sizeof frame);
  asm volatile("" : : "r"(frame) : "memory");
  if (depth > 0)
    compute_below(over, depth - 1);
  else
    compute_here(over);
  asm volatile("" : : "r"(frame) : "memory");
}

using namespace test;

// What the sink has been told.
class book {
 public:
  void write(const stall_record& r) {
    std::lock_guard held(lock_);
    records_.push_back(r);
  }
  std::vector<stall_record> about(std::string_view name, bool ended) {
    std::lock_guard held(lock_);
    std::vector<stall_record> found;
    for (const auto& r : records_)
      if (r.ended == ended && name == r.name.data()) found.push_back(r);
    return found;
  }
  std::size_t size() {
    std::lock_guard held(lock_);
    return records_.size();
  }

 private:
  std::mutex lock_;
  std::vector<stall_record> records_;
};

class stalls : public ::testing::TestWithParam<unsigned> {
 protected:
  template <class F>
  void run(std::chrono::nanoseconds limit, bool stacks, F&& f) {
    with_runtime({.workers = GetParam(),
                  .stalls = {.limit = limit, .stacks = stacks, .sink = [&](const stall_record& r) { told_.write(r); }}},
                 std::forward<F>(f));
  }
  stall_record begin_of(std::string_view name) {
    EXPECT_TRUE(eventually([&] { return !told_.about(name, false).empty(); }));
    return told_.about(name, false).at(0);
  }
  stall_record end_of(std::string_view name) {
    EXPECT_TRUE(eventually([&] { return !told_.about(name, true).empty(); }));
    return told_.about(name, true).at(0);
  }

  book told_;
};
INSTANTIATE_TEST_SUITE_P(with_workers, stalls, worker_counts, count_name);

TEST_P(stalls, who_computes_is_told_of_when_the_limit_is_reached_and_at_the_end) {
  run(5ms, false, [&](runtime& rt) {
    std::atomic<bool> over{false};
    const unsigned line = __LINE__ + 1;
    fiber hog = spawn({.name = "hog"}, [&] { compute_here(over); });
    const auto id = hog.get_id();
    const auto begin = begin_of("hog");
    EXPECT_EQ(begin.id, id);
    EXPECT_EQ(begin.where.line(), line);
    EXPECT_FALSE(begin.is_task);
    EXPECT_FALSE(begin.ended);
    EXPECT_GE(begin.computed + begin.blocked, 5ms);
    EXPECT_GE(begin.lasted, begin.computed);
    EXPECT_EQ(begin.frame_count, 0u);
    EXPECT_GE(rt.stats().stalls, 1u);
    // It lasts: whoever asks is told so.
    const auto now = rt.take_stalls();
    EXPECT_TRUE(std::any_of(now.begin(), now.end(), [&](auto& r) { return r.id == id && !r.ended; }));
    over = true;
    hog.join();
    const auto end = end_of("hog");
    EXPECT_EQ(end.number, begin.number);
    EXPECT_TRUE(end.ended);
    EXPECT_GE(end.lasted, begin.lasted);
    EXPECT_GE(end.computed, begin.computed);
    // The main fiber slept beside it.
    EXPECT_TRUE(end.handed_over || GetParam() > 1);
    const auto later = rt.take_stalls();
    EXPECT_TRUE(std::any_of(later.begin(), later.end(), [&](auto& r) { return r.id == id && r.ended; }));
    const auto again = rt.take_stalls();
    EXPECT_TRUE(std::none_of(again.begin(), again.end(), [&](auto& r) { return r.id == id; }));
  });
}

TEST_P(stalls, who_blocks_is_told_of_with_the_system_call) {
  run(5ms, true, [&](runtime&) {
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    fiber hog = spawn({.name = "reader"}, [&] {
      char c;
      EXPECT_EQ(::read(ends[0], &c, 1), 1);  // No EINTR: who is asleep is sent no signal.
    });
    const auto begin = begin_of("reader");
    EXPECT_GT(begin.blocked, begin.computed);
    EXPECT_EQ(begin.frame_count, 0u);
    EXPECT_EQ(::write(ends[1], "x", 1), 1);
    hog.join();
    const auto end = end_of("reader");
    EXPECT_GT(end.blocked, end.computed);
    if (end.system_call != stall_record::in_none) {  // Some containers do not tell.
      EXPECT_EQ(end.system_call, SYS_read);
      EXPECT_NE(to_string(end).find(" blocked in read"), std::string::npos) << to_string(end);
    }
    ::close(ends[0]);
    ::close(ends[1]);
  });
}

TEST_P(stalls, tasks_are_told_of_as_well) {
  run(5ms, false, [&](runtime&) {
    std::atomic<bool> over{false};
    const auto compute = [&]() -> task<> {
      compute_here(over);
      co_return;
    };
    auto t = spawn(compute());
    EXPECT_TRUE(eventually([&] { return !told_.about("", false).empty(); }));
    const auto begun = told_.about("", false);
    const auto it = std::find_if(begun.begin(), begun.end(), [](auto& r) { return r.is_task; });
    over = true;
    t.join();
    ASSERT_NE(it, begun.end());
    EXPECT_TRUE(eventually([&] {
      const auto ended = told_.about("", true);
      return std::any_of(ended.begin(), ended.end(), [&](auto& r) { return r.is_task && r.number == it->number; });
    }));
  });
}

TEST_P(stalls, the_stack_of_who_computes_is_sampled_on_request) {
  if (under_tsan) GTEST_SKIP() << "ThreadSanitizer delivers no signal to a thread that computes";
  run(5ms, true, [&](runtime&) {
    std::atomic<bool> over{false};
    const auto has = [](const stall_record& r, const char* function) {
      return std::any_of(r.frames.begin(), r.frames.begin() + static_cast<std::ptrdiff_t>(r.frame_count), [&](void* f) {
        char name[256];
        return context::name_of(f, name) && std::strstr(name, function);
      });
    };
    fiber hog = spawn({.name = "shallow"}, [&] { compute_below(over, 3); });
    fiber deep = spawn({.name = "deep"}, [&] { compute_below(over, 150); });
    const auto one = begin_of("shallow"), other = begin_of("deep");
    over = true;
    hog.join();
    deep.join();
    for (const auto& r : {one, other}) {
      if (r.frame_count == 0) continue;  // It may never have run while the signal was under way.
      EXPECT_TRUE(has(r, "compute_here")) << to_string(r);
      EXPECT_TRUE(has(r, "compute_below")) << to_string(r);
    }
    EXPECT_TRUE(one.frame_count > 0 || other.frame_count > 0);
  });
}

// On one core with threads that compute, it gets a small part of the time; what counts is what it does with it.
TEST_P(stalls, who_is_given_no_core_is_not_blamed) {
  run(2s, false, [&](runtime&) {
    std::atomic<bool> over{false};
    fiber slow = spawn({.name = "descheduled"}, [&] {
      cpu_set_t all, one;
      ::sched_getaffinity(0, sizeof all, &all);
      CPU_ZERO(&one);
      CPU_SET(static_cast<std::size_t>(::sched_getcpu()), &one);
      ::sched_setaffinity(0, sizeof one, &one);  // Threads that it starts inherit it.
      std::vector<std::thread> rivals;
      for (int i = 0; i < 4; ++i) rivals.emplace_back([&] { compute_here(over); });
      const auto mine = os::thread_id();
      const auto until = os::thread_cpu_ns(mine) + 20'000'000;
      while (os::thread_cpu_ns(mine) < until) {
      }
      over = true;
      for (auto& r : rivals) r.join();
      ::sched_setaffinity(0, sizeof all, &all);
    });
    slow.join();
    EXPECT_TRUE(told_.about("descheduled", true).empty());
    EXPECT_TRUE(told_.about("descheduled", false).empty());
  });
}

TEST_P(stalls, who_gives_way_is_not_told_of) {
  run(1s, false, [&](runtime& rt) {
    for (int i = 0; i < 200; ++i) {
      spin(100us);
      this_fiber::yield();
    }
    EXPECT_EQ(rt.stats().stalls, 0u);
    EXPECT_TRUE(rt.take_stalls().empty());
    EXPECT_EQ(told_.size(), 0u);
  });
}

// A fiber that waits for a page keeps its thread and nobody else.
TEST_P(stalls, who_waits_for_a_page_is_relieved_and_told_of) {
  const int faults = static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY));
  if (faults < 0) GTEST_SKIP() << "the kernel gives no userfaultfd";
  const auto size = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  auto* page = static_cast<char*>(::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  uffdio_api api{.api = UFFD_API, .features = 0, .ioctls = 0};
  ASSERT_EQ(::ioctl(faults, UFFDIO_API, &api), 0);
  uffdio_register range{.range = {.start = reinterpret_cast<std::uintptr_t>(page), .len = size},
                        .mode = UFFDIO_REGISTER_MODE_MISSING,
                        .ioctls = 0};
  ASSERT_EQ(::ioctl(faults, UFFDIO_REGISTER, &range), 0);
  run(5ms, false, [&](runtime& rt) {
    std::vector<fiber> readers;
    for (unsigned i = 0; i < GetParam(); ++i)  // One for each worker: without a hand-off nobody else would run.
      readers.push_back(spawn({.name = "faulting"}, [&] { EXPECT_EQ(*static_cast<volatile char*>(page), 0); }));
    EXPECT_TRUE(eventually([&] { return told_.about("faulting", false).size() == GetParam(); }));
    EXPECT_GE(rt.stats().handoffs, 1u);
    for (const auto& r : told_.about("faulting", false)) {
      EXPECT_GT(r.blocked, r.computed);
      if (r.system_call != stall_record::in_none) {
        EXPECT_EQ(r.system_call, stall_record::in_a_fault);
      }
    }
    uffdio_zeropage zero{.range = range.range, .mode = 0, .zeropage = 0};
    EXPECT_EQ(::ioctl(faults, UFFDIO_ZEROPAGE, &zero), 0);
    for (auto& r : readers) r.join();
  });
  ::munmap(page, size);
  ::close(faults);
}

// Stalls come and go by the hundred, while processors change hands all the time.
TEST_P(stalls, records_are_bounded_and_what_is_dropped_is_counted) {
  bare_runtime rt(
      {.processors = GetParam(), .pace = hurried, .stalls = {.limit = 40us, .sink = [&](auto& r) { told_.write(r); }}});
  auto& watch = rt.scheduler().the_monitor().stalls();
  rt.run([&] {
    EXPECT_TRUE(eventually([&] {
      scope s;
      for (int i = 0; i < 8; ++i)
        s.go([i] {
          if (i % 2 == 0)
            spin(300us);
          else
            block(200us);
        });
      s.join();
      return watch.dropped() > 0;
    }));
  });
  EXPECT_TRUE(eventually([&] { return !watch.any_open(); }));
  const auto kept = watch.take();
  EXPECT_EQ(kept.size(), sched::stall_watch::kept_max);
  EXPECT_TRUE(std::all_of(kept.begin(), kept.end(), [](auto& r) { return r.ended && r.number > 0; }));
  EXPECT_EQ(watch.count(), watch.dropped() + kept.size());
  EXPECT_TRUE(watch.take().empty());
}

TEST(stall_log_test, without_a_limit_nothing_is_watched) {
  with_runtime({.workers = 1}, [](runtime& rt) {
    block(20ms);
    EXPECT_EQ(rt.stats().stalls, 0u);
    EXPECT_TRUE(rt.take_stalls().empty());
  });
}

TEST(stall_log_test, the_environment_overrides_the_limit_and_keeps_the_sink) {
  const stall_log asked{.limit = 1s, .stacks = true, .sink = [](const stall_record&) {}};
  EXPECT_EQ(choose_stall_log(asked, nullptr).limit, 1s);
  EXPECT_TRUE(choose_stall_log(asked, "").stacks);
  EXPECT_EQ(choose_stall_log(asked, "20ms").limit, 20ms);
  EXPECT_FALSE(choose_stall_log(asked, "20ms").stacks);
  EXPECT_TRUE(choose_stall_log(asked, "20ms").sink);
  EXPECT_TRUE(choose_stall_log({}, "500us,stacks").stacks);
  EXPECT_EQ(choose_stall_log({}, "500us,stacks").limit, 500us);
  EXPECT_EQ(choose_stall_log({}, "3s").limit, 3s);
  EXPECT_EQ(choose_stall_log(asked, "off").limit, 0s);
  for (const char* wrong : {"20", "ms", "0ms", "-1ms", "20 ms", "20ms,", "20ms,stack", "off,stacks", "99999999999s",
                            "99999999999999999999ms", "20min"})
    EXPECT_THROW(choose_stall_log(asked, wrong), std::invalid_argument) << wrong;
}

TEST(stall_log_test, system_calls_have_names) {
  EXPECT_EQ(system_call_name(SYS_read), "read");
  EXPECT_EQ(system_call_name(99999), "system call 99999");
}

}  // namespace thrum::stall_watch_test
