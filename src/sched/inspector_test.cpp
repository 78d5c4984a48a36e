// What an inspector says of waits that end again: by cancellation, by a deadline, by others.
#include <atomic>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include <thrum/inspector.hpp>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;
using verdict = finding::verdict;

class inspector_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, inspector_test, worker_counts, count_name);

std::vector<finding> look_until_something_is_proved() {
  inspector doctor;
  std::vector<finding> found;
  EXPECT_TRUE(eventually([&] { return !(found = doctor.look()).empty(); }));
  return found;
}

TEST_P(inspector_test, a_cycle_that_cancellation_ends_is_proved_but_not_for_ever) {
  run([] {
    mutex m;
    fiber outer = spawn({.name = "outer"}, [&] {
      fiber inner;  // Whose end is waited for once the lock is given back.
      std::lock_guard hold(m);
      inner = spawn({.name = "inner"}, [&] { std::lock_guard own(m); });
      inner.join();
    });
    const auto found = look_until_something_is_proved();
    ASSERT_EQ(found.size(), 1u);
    EXPECT_EQ(found[0].what, verdict::deadlock);
    EXPECT_FALSE(found[0].for_ever());
    ASSERT_EQ(found[0].members.size(), 2u);
    EXPECT_EQ(found[0].members[0].cancellable, found[0].members[0].name == "outer");
    EXPECT_NE(to_string(found[0]).find("; only a cancellation can\n"), std::string::npos) << to_string(found[0]);
    outer.request_stop();
    outer.join();
    EXPECT_TRUE(eventually([] { return inspector().look().empty(); }));
  });
}

TEST_P(inspector_test, a_cycle_through_call_once) {
  run([] {
    mutex m;
    once_flag once;
    event begun;
    fiber first = spawn([&] {
      call_once(once, [&] {
        begun.set();
        while (m.try_lock()) {
          m.unlock();
          this_fiber::yield();
        }
        std::lock_guard own(m);
      });
    });
    fiber second = spawn([&] {
      begun.wait();
      std::lock_guard hold(m);
      call_once(once, [] {});
    });
    const auto found = look_until_something_is_proved();
    ASSERT_EQ(found.size(), 1u);
    EXPECT_EQ(found[0].what, verdict::deadlock);
    EXPECT_FALSE(found[0].for_ever());
    second.request_stop();
    second.join();
    first.join();
  });
}

TEST_P(inspector_test, a_wait_that_nobody_can_end) {
  run([] {
    channel<int> none, some(0);
    fiber receives = spawn([&] { (void)none.receive(); });
    fiber selects = spawn([&] { select(none.on_receive([](auto) {}), none.on_send(1, [] {})); });
    fiber could_go_on = spawn([&] { select(none.on_receive([](auto) {}), some.on_receive([](auto) {})); });
    fiber has_a_limit = spawn([&] { select(none.on_receive([](auto) {}), after(24h, [] {})); });
    until_the_others_wait();
    const auto found = inspector().look();
    ASSERT_EQ(found.size(), 2u);
    for (const auto& f : found) {
      EXPECT_EQ(f.what, verdict::hopeless);
      EXPECT_FALSE(f.for_ever());
      EXPECT_TRUE(f.members.at(0).id == receives.get_id() || f.members.at(0).id == selects.get_id());
    }
  });
}

TEST_P(inspector_test, a_cycle_with_a_deadline_in_it_is_none) {
  run([] {
    mutex a;
    timed_mutex b;
    latch both(2);
    fiber first = spawn([&] {
      std::lock_guard hold(a);
      both.arrive_and_wait();
      (void)b.try_lock_for(50 * a_moment);
    });
    fiber second = spawn([&] {
      std::lock_guard hold(b);
      both.arrive_and_wait();
      std::lock_guard own(a);
    });
    inspector doctor;
    for (int i = 0; i < 100; ++i) {
      EXPECT_TRUE(doctor.look().empty());
      this_fiber::yield();
    }
    first.join();
    second.join();
  });
}

TEST_P(inspector_test, who_waits_for_a_lock_that_others_use_is_not_accused) {
  run([] {
    mutex m;
    m.lock();
    fiber f = spawn([&] { std::lock_guard own(m); });
    until_the_others_wait();
    EXPECT_TRUE(inspector().look().empty());
    m.unlock();
    f.join();
  });
}

TEST_P(inspector_test, a_suspect_is_who_was_seen_in_the_same_wait_before) {
  run([] {
    channel<int> silent(0), timed(0);
    fiber waits = spawn({.name = "patient"}, [&] { (void)silent.receive(); });
    fiber sleeps = spawn([&] { (void)timed.receive_for(24h); });
    until_the_others_wait();
    inspector doctor;
    EXPECT_TRUE(doctor.look(0ns).empty());
    const auto found = doctor.look(0ns);
    ASSERT_EQ(found.size(), 1u);
    const auto& suspect = found.at(0);
    EXPECT_EQ(suspect.what, verdict::suspect);
    EXPECT_FALSE(suspect.proven() || suspect.for_ever());
    EXPECT_EQ(suspect.members.at(0).name, "patient");
    EXPECT_EQ(std::string(suspect.members.at(0).waits_for), "receiving from a channel");
    EXPECT_TRUE(doctor.look(24h).empty());
    silent.send(1);
    waits.join();
    EXPECT_TRUE(doctor.look(0ns).empty());
    sleeps.request_stop();
  });
}

// Not what lies with who waits.
TEST_P(inspector_test, what_is_waited_for_is_shown_as_the_program_knows_it) {
  run([] {
    std::atomic<int> word{0};
    shared_mutex m;
    condition_variable_any changed;
    channel<int> silent(0);
    fiber by_address = spawn([&] { wait_on_address(word, 0); });
    fiber task_by_address = spawn([&] { spawn([&]() -> task<> { co_await async_wait_on_address(word, 0); }).join(); });
    fiber for_condition = spawn([&] {
      std::unique_lock hold(m);
      changed.wait(hold, [] { return false; });
    });
    fiber selects = spawn([&] { select(silent.on_receive([](auto) {})); });
    until_the_others_wait();
    inspector doctor;
    (void)doctor.look(0ns);
    int addresses = 0, others = 0;
    for (const auto& found : doctor.look(0ns)) {
      const auto& b = found.members.at(0);
      const std::string_view what = b.waits_for;
      addresses += what == "an address" && b.object == &word;
      others += what == "a condition variable" && b.object == &changed;
      others += what == "a select" && b.object == nullptr;
    }
    EXPECT_EQ(addresses, 2);
    EXPECT_EQ(others, 2);
    for (auto* f : {&by_address, &task_by_address, &for_condition, &selects}) f->request_stop();
  });
}

TEST(inspector_test, needs_a_runtime) { EXPECT_THROW(inspector(), std::logic_error); }

TEST(inspector_test, may_look_from_a_plain_thread) {
  runtime rt({.workers = 2});
  fiber f = rt.spawn([&] { (void)channel<int>().receive(); });
  inspector doctor(rt);
  EXPECT_TRUE(eventually([&] { return doctor.look().size() == 1; }));
  f.request_stop();
  f.join();
  EXPECT_TRUE(doctor.look().empty());
}

}  // namespace
}  // namespace thrum
