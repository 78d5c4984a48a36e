// The twins of file.hpp's calls.
#include <algorithm>
#include <array>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <thrum/file.hpp>

#include "file_support.hpp"
#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

class file_task_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, file_task_test, worker_counts, count_name);

task<> use_a_file(std::string path) {
  auto f = co_await file::async_open(path, {.read = true, .write = true, .create = true});
  auto n = co_await f.async_write_all(bytes("hello, world"));
  EXPECT_EQ(n, 12u);
  n = co_await f.async_write_at(0, bytes("H"));
  EXPECT_EQ(n, 1u);
  co_await f.async_sync();
  co_await f.async_data_sync();
  std::array<char, 64> buffer;
  n = co_await f.async_read_at(7, room(buffer));
  EXPECT_EQ(text(buffer, n), "world");
  f.seek(0);
  n = co_await f.async_read_some(room(buffer).first(3));
  EXPECT_EQ(text(buffer, n), std::string_view("Hel").substr(0, n));
  EXPECT_GE(n, 1u);
  f.seek(3);
  n = co_await f.async_read_all(room(buffer));
  EXPECT_EQ(text(buffer, n), "lo, world");
  co_await f.async_truncate(2);
  const auto size = co_await f.async_size();
  EXPECT_EQ(size, 2u);
  co_await f.async_close();
  EXPECT_FALSE(f.is_open());
}

TEST_P(file_task_test, do_as_the_plain_calls_do) {
  run([] {
    const scratch_directory dir;
    spawn(use_a_file(dir / "a")).join();
    EXPECT_EQ(read_file(dir / "a"), "He");
  });
}

task<> use_paths(const scratch_directory& dir) {
  const std::string a = dir / "a", b = dir / "b", sub = dir / "sub";
  co_await async_write_file(a, "abc");
  co_await async_rename_file(a, b);
  const auto all = co_await async_read_file(b);
  EXPECT_EQ(all, "abc");
  const auto info = co_await async_stat_file(b);
  EXPECT_EQ(info.size, 3u);
  co_await async_make_directory(sub);
  auto entries = co_await async_list_directory(dir.path());
  EXPECT_EQ(entries.size(), 2u);
  co_await async_remove_file(b);
  co_await async_remove_file(sub);
  entries = co_await async_list_directory(dir.path());
  EXPECT_TRUE(entries.empty());
}

TEST_P(file_task_test, paths_have_twins_too) {
  run([] {
    const scratch_directory dir;
    spawn(use_paths(dir)).join();
  });
}

task<> meet_errors(const scratch_directory& dir) {
  const std::string nothing = dir / "nothing";
  std::error_code error;
  const auto f = co_await file::async_open(nothing, {.read = true}, error);
  EXPECT_EQ(error, std::errc::no_such_file_or_directory);
  EXPECT_FALSE(f.is_open());
  const auto empty = co_await async_read_file(nothing, error);
  EXPECT_EQ(error, std::errc::no_such_file_or_directory);
  co_await async_remove_file(nothing, error);
  EXPECT_EQ(error, std::errc::no_such_file_or_directory);
  file none;
  const auto n = co_await none.async_write_all(bytes("x"), error);
  EXPECT_EQ(n, 0u);
  EXPECT_EQ(error, std::errc::bad_file_descriptor);
  bool thrown = false;
  try {
    (void)co_await async_stat_file(nothing);
  } catch (const std::system_error& e) {
    thrown = e.code() == std::errc::no_such_file_or_directory;
  }
  EXPECT_TRUE(thrown);
}

TEST_P(file_task_test, errors_are_thrown_or_reported) {
  run([] {
    const scratch_directory dir;
    spawn(meet_errors(dir)).join();
  });
}

task<> meet_cancellation(const scratch_directory& dir, int& met) {
  auto f = co_await file::async_open(dir / "a", {.read = true, .write = true, .create = true});
  scope s;
  s.cancel();
  std::error_code error;
  const auto n = co_await f.async_write_all(bytes("x"), error);
  EXPECT_EQ(n, 0u);
  if (error == std::errc::operation_canceled) ++met;
  co_await f.async_sync(error);
  if (error == std::errc::operation_canceled) ++met;
  co_await f.async_close(error);
  if (error == std::errc::operation_canceled) ++met;
  EXPECT_TRUE(f.is_open());
  try {
    co_await f.async_truncate(9);
  } catch (const cancelled&) {
    ++met;
  }
  try {
    (void)co_await async_read_file(dir / "a");
  } catch (const cancelled&) {
    ++met;
  }
}

TEST_P(file_task_test, cancelled_calls_did_not_happen) {
  run([] {
    const scratch_directory dir;
    int met = 0;
    spawn(meet_cancellation(dir, met)).join();
    EXPECT_EQ(met, 5);
    EXPECT_EQ(read_file(dir / "a"), "");
  });
}

}  // namespace
}  // namespace thrum
