// Copies of stacks that a signal has interrupted, unwound when the stack has long changed.
#include "context/stack_copy.hpp"

#include <algorithm>
#include <csignal>
#include <cstring>

#include <pthread.h>

#include <gtest/gtest.h>

// With external linkage: functions whose names the tests look for in traces.
namespace thrum::stack_copy_test {

context::stack_copy* copy_under_test = nullptr;
const char* lowest_of_stack = nullptr;
const char* top_of_stack = nullptr;

[[gnu::noinline]] void interrupted_here() {
  ::raise(SIGUSR1);
  asm volatile("" ::: "memory");  // No tail call.
}
[[gnu::noinline]] void interrupted_below(int depth) {
  // Each frame takes more than a kibibyte.
  char frame[1024];
  std::memset(frame, depth, sizeof frame);
  asm volatile("" : : "r"(frame) : "memory");
  if (depth > 0)
    interrupted_below(depth - 1);
  else
    interrupted_here();
  asm volatile("" : : "r"(frame) : "memory");
}
// Its frame is found through another register than the stack pointer while it moves that.
[[gnu::noinline]] void interrupted_with_aligned_frame(int n) {
  alignas(64) char aligned[256];
  std::memset(aligned, n, sizeof aligned);
  asm volatile("" : : "r"(aligned) : "memory");
  interrupted_here();
  asm volatile("" : : "r"(aligned) : "memory");
}

long count_in(const context::trace& t, const char* function) {
  return std::count_if(t.frames, t.frames + t.count, [&](void* frame) {
    char name[256];
    return context::name_of(frame, name) && std::strstr(name, function);
  });
}

class copied_stack : public ::testing::Test {
 protected:
  void SetUp() override {
    pthread_attr_t attributes;
    ASSERT_EQ(::pthread_getattr_np(::pthread_self(), &attributes), 0);
    void* lowest = nullptr;
    std::size_t size = 0;
    ::pthread_attr_getstack(&attributes, &lowest, &size);
    ::pthread_attr_destroy(&attributes);
    lowest_of_stack = static_cast<char*>(lowest);
    top_of_stack = lowest_of_stack + size;
    copy_under_test = &copy_;
    struct sigaction action {};
    action.sa_sigaction = [](int, siginfo_t*, void* ucontext) {
      copy_under_test->take(ucontext, lowest_of_stack, top_of_stack);
    };
    action.sa_flags = SA_SIGINFO;
    ASSERT_EQ(::sigaction(SIGUSR1, &action, &before_), 0);
  }
  void TearDown() override { ::sigaction(SIGUSR1, &before_, nullptr); }

  const context::trace& unwound() {
    copy_.unwind(trace_);
    return trace_;
  }

  context::stack_copy copy_;
  context::trace trace_;
  struct sigaction before_ {};
};

TEST_F(copied_stack, holds_the_frames_of_the_interrupted_code_when_they_have_gone) {
  interrupted_below(5);
  const auto& t = unwound();
  EXPECT_EQ(count_in(t, "interrupted_here("), 1);
  EXPECT_EQ(count_in(t, "interrupted_below("), 6);
  EXPECT_LT(t.count, context::trace_depth);
}

TEST_F(copied_stack, is_used_again) {
  interrupted_below(30);
  interrupted_with_aligned_frame(1);
  const auto& t = unwound();
  EXPECT_EQ(count_in(t, "interrupted_with_aligned_frame("), 1);
  EXPECT_EQ(count_in(t, "interrupted_below("), 0);
}

TEST_F(copied_stack, ends_where_it_was_cut) {
  interrupted_below(200);
  const auto& t = unwound();
  EXPECT_EQ(count_in(t, "interrupted_here("), 1);
  EXPECT_GT(count_in(t, "interrupted_below("), 10);
}

TEST_F(copied_stack, of_another_stack_has_only_the_place) {
  top_of_stack = lowest_of_stack + 16;
  interrupted_here();
  EXPECT_EQ(unwound().count, 1);
}

}  // namespace thrum::stack_copy_test
