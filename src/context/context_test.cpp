// The bare switch: registers, stacks, arguments, floating-point control, exceptions on another stack.
#include "context/context.hpp"

#include <cfenv>
#include <cstdint>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <vector>

#include <execinfo.h>

#include <gtest/gtest.h>

#include "context/unwind.hpp"

namespace thrum::context {
namespace {

// A stack and the two contexts between which a test goes back and forth.
class strand {
 public:
  using body = void (*)(strand&);

  explicit strand(body b, std::size_t size = 256 * 1024) : body_(b), memory_(new char[size + 64]) {
    auto top = reinterpret_cast<std::uintptr_t>(memory_.get()) + size;
    adopt_stack(own_, memory_.get(), size);
    adopt_thread_stack(callers_);
    make(inside_, reinterpret_cast<void*>(top / 64 * 64), &start, this);
  }
  ~strand() { forget_stack(own_); }

  // From outside: runs the strand until it yields or ends.
  [[gnu::noinline]] THRUM_NO_TSAN void resume() {
    leave_stack(callers_, own_, false);
    switch_to(outside_, inside_);
    arrive_on_stack(callers_);
  }
  // From inside.
  [[gnu::noinline]] THRUM_NO_TSAN void yield() { leave(false); }

  bool ended = false;
  int step = 0;
  std::uint64_t seen = 0;
  trace stack;
  const context& suspended() const { return inside_; }

 private:
  THRUM_NO_TSAN static void start(void* argument) {
    auto& s = *static_cast<strand*>(argument);
    arrive_on_stack(s.own_);
    s.body_(s);
    s.ended = true;
    s.leave(true);
  }
  [[gnu::noinline]] THRUM_NO_TSAN void leave(bool for_ever) {
    leave_stack(own_, callers_, for_ever);
    switch_to(inside_, outside_);
    arrive_on_stack(own_);
  }

  body body_;
  std::unique_ptr<char[]> memory_;
  context inside_, outside_;
  sanitizer_state own_, callers_;
};

TEST(context, runs_on_its_own_stack_and_comes_back) {
  strand s([](strand& self) {
    int local = 0;
    self.seen = reinterpret_cast<std::uintptr_t>(&local);
    for (self.step = 1; self.step < 4; ++self.step) self.yield();
  });
  int local = 0;
  for (int i = 1; i < 4; ++i) {
    s.resume();
    EXPECT_EQ(s.step, i);
    EXPECT_FALSE(s.ended);
  }
  s.resume();
  EXPECT_TRUE(s.ended);
  const auto distance = s.seen - reinterpret_cast<std::uintptr_t>(&local);
  EXPECT_GT(std::min(distance, -distance), 64u);
}

TEST(context, many_switches_keep_every_local) {
  strand s([](strand& self) {
    std::uint64_t a = 1, b = 2, c = 3, d = 4, e = 5, f = 6, g = 7, h = 8;
    double x = 0.5;
    for (;;) {
      self.yield();
      a += b, b ^= c, c += d, d ^= e, e += f, f ^= g, g += h, h ^= a, x += 0.25;
      self.seen = a + b + c + d + e + f + g + h + static_cast<std::uint64_t>(x * 4);
      if (self.step < 0) return;
    }
  });
  std::uint64_t a = 1, b = 2, c = 3, d = 4, e = 5, f = 6, g = 7, h = 8;
  double x = 0.5;
  s.resume();
  for (int i = 0; i < 10'000; ++i) {
    s.resume();
    a += b, b ^= c, c += d, d ^= e, e += f, f ^= g, g += h, h ^= a, x += 0.25;
    ASSERT_EQ(s.seen, a + b + c + d + e + f + g + h + static_cast<std::uint64_t>(x * 4));
  }
  s.step = -1;
  s.resume();
  EXPECT_TRUE(s.ended);
}

TEST(context, the_stack_is_aligned_as_the_abi_wants) {
  strand s([](strand& self) {
    struct alignas(16) aligned {
      char bytes[16];
    } a;
    self.seen = reinterpret_cast<std::uintptr_t>(&a) % 16;
    char text[64];
    // Variadic calls with floating-point arguments save vector registers with aligned stores.
    self.step = std::snprintf(text, sizeof text, "%.3f %d", 1.5, 7);
  });
  s.resume();
  EXPECT_EQ(s.seen, 0u);
  EXPECT_EQ(s.step, 7);
}

TEST(context, floating_point_control_belongs_to_the_context) {
  strand s([](strand& self) {
    std::fesetround(FE_UPWARD);
    self.yield();
    self.seen = static_cast<std::uint64_t>(std::fegetround());
    std::fesetround(FE_DOWNWARD);
  });
  s.resume();
  EXPECT_EQ(std::fegetround(), FE_TONEAREST);
  std::fesetround(FE_TOWARDZERO);
  s.resume();
  EXPECT_EQ(s.seen, static_cast<std::uint64_t>(FE_UPWARD));
  EXPECT_EQ(std::fegetround(), FE_TOWARDZERO);
  std::fesetround(FE_TONEAREST);
  EXPECT_TRUE(s.ended);
}

TEST(context, status_flags_do_not_count_as_control) {
  const auto before = read_fp_control();
  std::feraiseexcept(FE_INEXACT | FE_DIVBYZERO);
  EXPECT_TRUE(read_fp_control().same_settings(before));
  std::feclearexcept(FE_ALL_EXCEPT);
}

int throw_from(int depth) {
  volatile char frame[128];
  frame[0] = static_cast<char>(depth);
  if (depth == 0) throw std::runtime_error("deep");
  return throw_from(depth - 1) + frame[0];
}

TEST(context, exceptions_pass_through_many_frames) {
  strand s([](strand& self) {
    for (int i = 0; i < 10; ++i) {
      try {
        throw_from(200);
      } catch (const std::runtime_error& e) {
        self.step += std::strcmp(e.what(), "deep") == 0;
      }
      self.yield();
    }
  });
  for (int i = 1; i <= 10; ++i) {
    s.resume();
    EXPECT_EQ(s.step, i);
  }
  s.resume();
  EXPECT_TRUE(s.ended);
}

// Walks with the C library's unwinder, as debuggers and profilers do: it must end at the root by itself.
TEST(context, backtrace_stops_at_the_root) {
  strand s([](strand& self) {
    void* frames[100];
    self.step = ::backtrace(frames, 100);
    capture(self.stack);
  });
  s.resume();
  EXPECT_GT(s.step, 1);
  EXPECT_LT(s.step, 20);
  EXPECT_GT(s.stack.count, 1);
  EXPECT_LT(s.stack.count, 20);
}

}  // namespace
}  // namespace thrum::context
