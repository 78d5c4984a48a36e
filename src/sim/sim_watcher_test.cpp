// Watching files in simulations: hosts apart, cuts of power, queues that overflow, and searches that depend on events.
// What is as with the kernel is shown by src/file/file_watcher*_test.cpp.
#include <algorithm>
#include <array>
#include <cerrno>
#include <functional>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include <sys/inotify.h>

#include <thrum/file_watcher.hpp>
#include <thrum/sim_disk.hpp>
#include <thrum/sim_network.hpp>

#include "file_support.hpp"
#include "net/system_calls.hpp"
#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

// Of each event, until there are no more for a long time.
std::vector<file_change> changes_of(file_watcher& w) {
  std::vector<file_change> all;
  std::error_code error;
  w.set_timeout(1s);
  for (;;) {
    for (const auto& e : w.receive(error)) all.push_back(e.change);
    if (error) break;
  }
  EXPECT_EQ(error, std::errc::timed_out);
  return all;
}
using changes = std::vector<file_change>;

TEST(sim_watcher, each_host_is_told_of_its_own_disk) {
  sim::run({.seed = 1}, [] {
    auto here = file_watcher::open();
    here.watch("/tmp");
    sim::on_host("10.0.0.1", [&] {
      auto there = file_watcher::open();
      there.watch("/tmp");
      make_directory("/tmp/a");
      EXPECT_EQ(changes_of(there), (changes{file_change::created}));
      remove_file("/tmp/a");
      write_file("/tmp/b", "");
      std::error_code error;
      EXPECT_EQ(here.watch("/tmp/b", false, error), -1) << "a watcher is of the host that has opened it";
      EXPECT_EQ(error, std::errc::no_such_file_or_directory);
    });
    EXPECT_EQ(changes_of(here), changes{});
    make_directory("/tmp/a");
    EXPECT_EQ(changes_of(here), (changes{file_change::created}));
  });
}

TEST(sim_watcher, a_cut_of_power_ends_its_disks_watches) {
  sim::run({.seed = 1}, [] {
    auto w = file_watcher::open();
    auto f = file::open("/tmp/a", {.write = true, .create = true});
    const std::set<int> watched{w.watch("/tmp"), w.watch("/tmp/a")};
    auto elsewhere = sim::on_host("10.0.0.1", [] {
      auto other = file_watcher::open();
      other.watch("/tmp");
      return other;
    });
    sim::cut_power();
    std::set<int> ended;
    for (const auto& e : w.receive()) {
      EXPECT_EQ(e.change, file_change::ended);
      ended.insert(e.watch);
    }
    EXPECT_EQ(ended, watched);
    EXPECT_EQ(changes_of(elsewhere), changes{});
    EXPECT_THROW(w.unwatch(*watched.begin()), std::system_error);

    w.watch("/tmp");
    f.close();
    EXPECT_EQ(changes_of(w), changes{}) << "who had the file open is no more";
    make_directory("/tmp/b");
    EXPECT_EQ(changes_of(w), (changes{file_change::created}));
  });
}

// What was removed may be back after a cut of power, and be watched; then it is another's who holds it.
TEST(sim_watcher, a_file_that_a_cut_of_power_brings_back_can_be_gone_again) {
  bool was_back = false;
  for (std::uint64_t seed = 1; seed <= 20; ++seed)
    sim::run({.seed = seed}, [&] {
      write_file("/tmp/a", "");
      file::open("/tmp").sync();
      auto f = file::open("/tmp/a", {.write = true});
      remove_file("/tmp/a");
      sim::cut_power();
      auto w = file_watcher::open();
      std::error_code error;
      w.watch("/tmp/a", false, error);
      if (error) return;
      was_back = true;
      remove_file("/tmp/a");
      f.close();
      EXPECT_EQ(changes_of(w), (changes{file_change::attributes, file_change::gone, file_change::ended}));
    });
  EXPECT_TRUE(was_back);
}

// 16,384 events, as the kernel has it, and the word that there were more.
TEST(sim_watcher, what_does_not_fit_into_the_queue_is_lost) {
  sim::run({.seed = 1}, [] {
    constexpr std::size_t queue_max = 16'384;
    auto w = file_watcher::open();
    const int number = w.watch("/tmp");
    for (std::size_t i = 0; i < queue_max / 2 + 10; ++i) {
      make_directory("/tmp/a");
      remove_file("/tmp/a");
    }
    std::vector<file_event> all;
    while (all.empty() || all.back().change != file_change::lost) {
      const auto some = w.receive();
      all.insert(all.end(), some.begin(), some.end());
    }
    EXPECT_EQ(all.size(), queue_max + 1);
    EXPECT_EQ(all.back().watch, -1);
    EXPECT_TRUE(std::all_of(all.begin(), all.end() - 1, [&](const auto& e) { return e.watch == number; }));
    make_directory("/tmp/a");
    EXPECT_EQ(changes_of(w), (changes{file_change::created}));
  });
}

// Below what file_watcher does, which always has room.
TEST(sim_watcher, events_are_read_whole_or_not_at_all) {
  sim::run({.seed = 1}, [] {
    auto w = file_watcher::open();
    w.watch("/tmp");
    auto& calls = *net::system::own();
    alignas(inotify_event) std::array<std::byte, 3 * sizeof(inotify_event)> buffer;
    const auto read = [&](std::size_t size) {
      errno = 0;
      return calls.read_changes(w.native_handle(), std::span(buffer).first(size));
    };
    EXPECT_EQ(read(buffer.size()), -1);
    EXPECT_EQ(errno, EAGAIN);
    make_directory("/tmp/0123456789abcde");  // With its end as long as the head.
    make_directory("/tmp/0");
    const long one = 2 * sizeof(inotify_event);
    EXPECT_EQ(read(one - 1), -1);
    EXPECT_EQ(errno, EINVAL);
    EXPECT_EQ(read(buffer.size()), one);
    const auto& e = *reinterpret_cast<const inotify_event*>(buffer.data());
    EXPECT_EQ(e.mask, static_cast<std::uint32_t>(IN_CREATE | IN_ISDIR));
    EXPECT_STREQ(e.name, "0123456789abcde");
    EXPECT_EQ(read(buffer.size()), one);
    EXPECT_EQ(read(buffer.size()), -1);
    EXPECT_EQ(errno, EAGAIN);

    auto pair = net::unix_stream::pair();
    EXPECT_EQ(calls.add_watch(pair.first.native_handle(), "/tmp", IN_CREATE), -1);
    EXPECT_EQ(errno, EINVAL);
    EXPECT_EQ(calls.add_watch(w.native_handle(), "/tmp", IN_ISDIR), -1);
    EXPECT_EQ(errno, EINVAL);
    EXPECT_EQ(calls.remove_watch(w.native_handle() + 100, 1), -1);
    EXPECT_EQ(errno, EBADF);
  });
}

TEST(sim_watcher, events_come_after_a_latency) {
  sim::run({.seed = 1, .latency_min = 1ms, .latency_max = 2ms}, [] {
    auto w = file_watcher::open();
    w.watch("/tmp");
    fiber f = spawn([] {
      this_fiber::sleep_for(1s);
      make_directory("/tmp/a");
    });
    const auto start = clock::now();
    EXPECT_EQ(w.receive().front().name, "a");
    EXPECT_GE(clock::now() - start, 1s + 1ms);
    f.join();
  });
}

// Nobody runs then: it is closed where it arrives.
TEST(sim_watcher, a_file_that_is_on_its_way_to_nobody_is_closed) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed)
    sim::run({.seed = seed}, [] {
      auto w = file_watcher::open();
      auto f = file::open("/tmp/a", {.write = true, .create = true});
      w.watch("/tmp");
      auto [sender, receiver] = net::unix_stream::pair();
      sender.send_descriptor(f.native_handle(), bytes("x"));
      f.close();
      receiver.close();
      EXPECT_EQ(w.receive().front().change, file_change::written);
    });
}

// Follows a setting that lies in a file, until it is the last one.
void follow(bool watches_first) {
  write_file("/tmp/setting", "old");
  scope s;
  s.go([=] {
    auto w = file_watcher::open();
    if (watches_first) w.watch("/tmp/setting");
    auto setting = read_file("/tmp/setting");
    if (!watches_first) w.watch("/tmp/setting");
    while (setting != "new") {
      w.receive();
      setting = read_file("/tmp/setting");
    }
  });
  s.go([] { write_file("/tmp/setting", "new"); });
  s.join();
}

TEST(sim_watcher, a_change_before_the_watch_is_missed_in_some_schedules) {
  for (const auto how : {sim::strategy::random_walk, sim::strategy::pct, sim::strategy::exhaustive}) {
    const auto v = sim::check([] { follow(false); }, {.schedules = 2000, .how = how});
    EXPECT_FALSE(v.passed);
    EXPECT_NE(v.report.find("deadlock"), std::string::npos) << v.report;
  }
}

TEST(sim_watcher, and_its_repair_is_accused_by_no_schedule) {
  const auto v = sim::check([] { follow(true); }, {.schedules = 500});
  EXPECT_TRUE(v.passed) << v.report;
  const auto all =
      sim::check([] { follow(true); }, {.schedules = 100'000, .how = sim::strategy::exhaustive, .each = {.depth = 2}});
  EXPECT_TRUE(all.passed) << all.report;
  EXPECT_TRUE(all.exhausted);
}

// A reader that takes the first event for the last one: right if it wakes up late enough.
TEST(sim_watcher, a_search_finds_the_order_of_events_in_which_an_update_is_lost) {
  const auto v = sim::check(
      [] {
        write_file("/tmp/setting", "1");
        auto w = file_watcher::open();
        w.watch("/tmp");
        scope s;
        std::string got;
        s.go([&] {
          w.receive();
          got = read_file("/tmp/setting");
        });
        s.go([] {
          write_file("/tmp/2", "2");
          rename_file("/tmp/2", "/tmp/setting");
        });
        s.join();
        if (got != "2") throw std::runtime_error("an update is lost");
      },
      {.schedules = 10'000, .how = sim::strategy::exhaustive});
  EXPECT_FALSE(v.passed);
  EXPECT_NE(v.report.find("an update is lost"), std::string::npos) << v.report;
}

}  // namespace
}  // namespace thrum
