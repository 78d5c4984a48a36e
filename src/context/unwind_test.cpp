// Stack traces of the running code and of suspended contexts, and how they are printed.
#include "context/unwind.hpp"

#include <algorithm>
#include <cstdint>
#include <string>

#include <unistd.h>

#include <gtest/gtest.h>

// With external linkage: functions whose addresses the tests look for in traces.
namespace thrum::unwind_test {

struct pair {
  context::context inside, outside;
  context::sanitizer_state own, callers;
};

[[gnu::noinline]] THRUM_NO_TSAN void suspend_here(pair& p) {
  context::leave_stack(p.own, p.callers, false);
  context::switch_to(p.inside, p.outside);
  context::arrive_on_stack(p.own);
  asm volatile("" ::: "memory");
}
[[gnu::noinline]] void suspend_below(pair& p, int depth) {
  if (depth > 0)
    suspend_below(p, depth - 1);
  else
    suspend_here(p);
  asm volatile("" ::: "memory");  // No tail call.
}
[[gnu::noinline]] THRUM_NO_TSAN void start(void* argument) {
  auto& p = *static_cast<pair*>(argument);
  context::arrive_on_stack(p.own);
  suspend_below(p, 5);
  __builtin_trap();
}
[[gnu::noinline]] void capture_here(context::trace& t, int skip) {
  context::capture(t, skip);
  asm volatile("" ::: "memory");
}

// Whether the return address lies in the first bytes of the function.
template <class Function>
bool is_in(void* frame, Function* function) {
  const auto distance = reinterpret_cast<std::uintptr_t>(frame) - reinterpret_cast<std::uintptr_t>(function);
  return distance < 2000;
}

namespace {

class suspended : public ::testing::Test {
 protected:
  THRUM_NO_TSAN suspended() {
    context::adopt_stack(p.own, memory, sizeof memory);
    context::adopt_thread_stack(p.callers);
    context::make(p.inside, memory + sizeof memory, &start, &p);
    context::leave_stack(p.callers, p.own, false);
    context::switch_to(p.outside, p.inside);
    context::arrive_on_stack(p.callers);
  }
  ~suspended() override { context::forget_stack(p.own); }

  alignas(64) static inline char memory[128 * 1024];
  pair p;
};

TEST_F(suspended, is_unwound_where_it_lies_down_to_its_root) {
  context::trace t;
  context::capture(t, p.inside);
  ASSERT_GE(t.count, 8);
  EXPECT_LE(t.count, 9);  // suspend_here, six times suspend_below, start, and perhaps the root.
  EXPECT_TRUE(is_in(t.frames[0], &suspend_here));
  for (int i = 1; i <= 6; ++i) EXPECT_TRUE(is_in(t.frames[i], &suspend_below)) << i;
  EXPECT_TRUE(is_in(t.frames[7], &start));
}

TEST_F(suspended, can_be_unwound_again_and_again) {
  context::trace first;
  context::capture(first, p.inside);
  for (int i = 0; i < 100; ++i) {
    context::trace t;
    context::capture(t, p.inside);
    ASSERT_EQ(t.count, first.count);
    ASSERT_TRUE(std::equal(t.frames, t.frames + t.count, first.frames));
  }
}

TEST(capture, starts_with_the_caller_and_skips_frames) {
  context::trace whole, shorter;
  capture_here(whole, 0);
  capture_here(shorter, 1);
  ASSERT_GT(whole.count, 2);
  EXPECT_TRUE(is_in(whole.frames[0], &capture_here));
  EXPECT_FALSE(is_in(shorter.frames[0], &capture_here));
}

[[gnu::noinline]] int recurse(context::trace& t, int n) {
  if (n == 0)
    context::capture(t);
  else
    recurse(t, n - 1);
  asm volatile("" ::: "memory");
  return n;
}

TEST(capture, stops_at_the_depth_it_has_room_for) {
  context::trace t;
  recurse(t, 3 * context::trace_depth);
  EXPECT_EQ(t.count, context::trace_depth);
}

std::string printed(const context::trace& t) {
  int ends[2];
  if (::pipe(ends) != 0) return {};
  const int before = ::dup(STDERR_FILENO);
  ::dup2(ends[1], STDERR_FILENO);
  context::print(t);
  ::dup2(before, STDERR_FILENO);
  ::close(before);
  ::close(ends[1]);
  std::string text(1 << 16, '\0');
  text.resize(static_cast<std::size_t>(std::max<ssize_t>(0, ::read(ends[0], text.data(), text.size()))));
  ::close(ends[0]);
  return text;
}

TEST_F(suspended, prints_a_numbered_line_for_every_frame) {
  context::trace t;
  context::capture(t, p.inside);
  const auto text = printed(t);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), t.count);
  EXPECT_EQ(text.find("    #0 "), 0u) << text;
  EXPECT_NE(text.find("\n    #1 "), std::string::npos) << text;
}

TEST(print, an_address_outside_every_module_is_printed_as_it_is) {
  context::trace t;
  t.count = 1;
  t.frames[0] = reinterpret_cast<void*>(std::uintptr_t{0x10});
  EXPECT_EQ(printed(t), "    #0 0x10\n");
}

}  // namespace
}  // namespace thrum::unwind_test
