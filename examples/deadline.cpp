// Structured concurrency: a scope owns its children, bounds their time, and hands on their first failure.
#include <chrono>
#include <cstdio>
#include <stdexcept>
#include <thrum/thrum.hpp>

using namespace std::chrono_literals;

namespace {

int fast_answer() {
  thrum::this_fiber::sleep_for(1ms);
  return 42;
}

// Would take an hour; its scope cancels it inside sleep_for, and its destructors run.
int slow_answer() {
  thrum::this_fiber::sleep_for(1h);
  return 43;
}

void answer_in_time() {
  thrum::scope s{.deadline = 10s};
  auto answer = s.async(fast_answer);
  s.join();
  std::printf("answer within the deadline: %d\n", answer.get());
}

void answer_too_late() {
  thrum::scope s{.deadline = 20ms};
  auto answer = s.async(slow_answer);
  try {
    s.join();
    std::printf("this cannot be: %d\n", answer.get());
  } catch (const thrum::timed_out&) {
    std::printf("the slow answer timed out\n");
  }
}

// The first failure cancels the siblings and comes out of join().
void one_fails() {
  thrum::scope s;
  s.go([] { thrum::this_fiber::sleep_for(1h); });
  s.go([] { throw std::runtime_error("disk on fire"); });
  try {
    s.join();
  } catch (const std::runtime_error& failure) {
    std::printf("the first failure: %s\n", failure.what());
  }
}

}  // namespace

int main() {
  return thrum::run([] {
    answer_in_time();
    answer_too_late();
    one_fails();
    return 0;
  });
}
