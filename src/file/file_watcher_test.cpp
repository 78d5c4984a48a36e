// What file_watcher.hpp promises.
#include <thrum/file_watcher.hpp>

#include <algorithm>
#include <cstddef>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "file_support.hpp"
#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

class file_watcher_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, file_watcher_test, worker_counts, count_name);

bool is_about(const file_event& e, file_change change, const std::string& name) {
  return e.change == change && e.name == name;
}

// The events of a watcher one by one.
class event_reader {
 public:
  explicit event_reader(file_watcher& w) : w_(w) {}

  file_event next() {
    if (at_ == events_.size()) {
      events_ = w_.receive();
      at_ = 0;
    }
    return events_[at_++];
  }
  // Leaves out what comes before it.
  file_event find(file_change change, const std::string& name) {
    for (;;)
      if (const auto e = next(); is_about(e, change, name)) return e;
  }

 private:
  file_watcher& w_;
  std::vector<file_event> events_;
  std::size_t at_ = 0;
};

TEST_P(file_watcher_test, tells_what_happens_in_a_directory) {
  run([] {
    const scratch_directory dir;
    auto w = file_watcher::open();
    event_reader r(w);
    const int number = w.watch(dir.path());
    write_file(dir / "a", "abc");
    EXPECT_EQ(r.find(file_change::created, "a").watch, number);
    r.find(file_change::written, "a");
    rename_file(dir / "a", dir / "b");
    const auto from = r.find(file_change::moved_from, "a"), to = r.find(file_change::moved_to, "b");
    EXPECT_NE(from.move, 0u);
    EXPECT_EQ(from.move, to.move);
    remove_file(dir / "b");
    EXPECT_FALSE(r.find(file_change::removed, "b").of_directory);
    make_directory(dir / "sub");
    EXPECT_TRUE(r.find(file_change::created, "sub").of_directory);
  });
}

TEST_P(file_watcher_test, tells_of_the_watched_file_itself_and_of_the_end) {
  run([] {
    const scratch_directory dir;
    write_file(dir / "a", "");
    write_file(dir / "b", "");
    auto w = file_watcher::open();
    event_reader r(w);
    const int a = w.watch(dir / "a", true), b = w.watch(dir / "b");
    EXPECT_NE(a, b);
    EXPECT_EQ(w.watch(dir / "b"), b);
    write_file(dir / "a", "x");
    EXPECT_EQ(r.find(file_change::modified, "").watch, a);
    remove_file(dir / "a");
    EXPECT_EQ(r.find(file_change::gone, "").watch, a);
    EXPECT_EQ(r.find(file_change::ended, "").watch, a);
    w.unwatch(b);
    EXPECT_EQ(r.find(file_change::ended, "").watch, b);
    EXPECT_THROW(w.unwatch(b), std::system_error);
  });
}

TEST_P(file_watcher_test, waits_without_a_thread_until_something_happens) {
  run([] {
    const scratch_directory dir;
    auto w = file_watcher::open();
    w.watch(dir.path());
    std::string got;
    fiber f = spawn([&] { got = w.receive().front().name; });
    settle();
    EXPECT_EQ(blocking_stats().running, 0u);
    write_file(dir / "a", "");
    f.join();
    EXPECT_EQ(got, "a");
  });
}

TEST_P(file_watcher_test, errors_deadlines_and_cancellation) {
  run([] {
    const scratch_directory dir;
    auto w = file_watcher::open();
    event_reader r(w);
    std::error_code error;
    EXPECT_EQ(w.watch(dir / "nothing", false, error), -1);
    EXPECT_EQ(error, std::errc::no_such_file_or_directory);
    EXPECT_THROW(w.watch(dir / "nothing"), std::system_error);
    w.watch(dir.path());
    w.set_timeout(1ms);
    EXPECT_TRUE(w.receive(error).empty());
    EXPECT_EQ(error, std::errc::timed_out);
    w.set_timeout({});
    fiber f = spawn([&] {
      EXPECT_TRUE(w.receive(error).empty());
      EXPECT_EQ(error, std::errc::operation_canceled);
      EXPECT_THROW(w.receive(), cancelled);
      EXPECT_THROW(w.watch(dir.path()), cancelled);
    });
    settle();
    f.request_stop();
    f.join();
    write_file(dir / "a", "");
    r.find(file_change::written, "a");  // Nothing was lost.
    w.close();
    EXPECT_TRUE(w.receive(error).empty());
    EXPECT_EQ(error, std::errc::bad_file_descriptor);
  });
}

task<> watch_and_receive(const scratch_directory& dir, event& watching, int& cancelled_calls) {
  auto w = file_watcher::open();
  const std::string nothing = dir / "nothing";
  std::error_code error;
  const int none = co_await w.async_watch(nothing, false, error);
  EXPECT_EQ(none, -1);
  EXPECT_EQ(error, std::errc::no_such_file_or_directory);
  const int number = co_await w.async_watch(dir.path());
  watching.set();
  const auto events = co_await w.async_receive();
  EXPECT_EQ(events.front().watch, number);
  EXPECT_TRUE(is_about(events.front(), file_change::created, "a"));
  w.unwatch(number);
  for (bool over = false; !over;) {
    const auto rest = co_await w.async_receive(error);
    over = std::any_of(rest.begin(), rest.end(), [](const auto& e) { return e.change == file_change::ended; });
  }
  watching.reset();
  try {
    (void)co_await w.async_receive();
  } catch (const cancelled&) {
    ++cancelled_calls;
  }
  (void)co_await w.async_receive(error);
  if (error == std::errc::operation_canceled) ++cancelled_calls;
}

TEST_P(file_watcher_test, tasks_have_twins) {
  run([] {
    const scratch_directory dir;
    event watching;
    int cancelled_calls = 0;
    auto t = spawn(watch_and_receive(dir, watching, cancelled_calls));
    watching.wait();
    write_file(dir / "a", "");
    EXPECT_TRUE(eventually([&] { return !watching.is_set(); }));
    t.request_stop();
    t.join();
    EXPECT_EQ(cancelled_calls, 2);
  });
}

TEST(file_watcher_of_a_thread, receives_too) {
  const scratch_directory dir;
  auto w = file_watcher::open();
  event_reader r(w);
  w.watch(dir.path());
  std::thread other([&] { write_file(dir / "a", ""); });
  r.find(file_change::written, "a");
  other.join();
}

}  // namespace
}  // namespace thrum
