// SQLite in fibers: files, the locks of several writers and the busy handler that sleeps. A connection for each fiber:
// SQLite's own mutexes belong to OS threads.
#include <atomic>
#include <filesystem>
#include <memory>
#include <string>

#include <sqlite3.h>
#include <unistd.h>

#include "client_support.hpp"

namespace thrum {
namespace {

using namespace test;
namespace fs = std::filesystem;

struct finish {
  void operator()(sqlite3* c) const { sqlite3_close(c); }
  void operator()(sqlite3_stmt* s) const { sqlite3_finalize(s); }
};
using connection = std::unique_ptr<sqlite3, finish>;

class sqlite_test : public on_workers {
 protected:
  void SetUp() override { fs::create_directory(folder_); }
  void TearDown() override { fs::remove_all(folder_); }

  connection open(int busy_timeout_ms = int{1000 * std::chrono::seconds(hang_guard).count()}) const {
    sqlite3* raw = nullptr;
    EXPECT_EQ(sqlite3_open((folder_ / "data").c_str(), &raw), SQLITE_OK);
    sqlite3_busy_timeout(raw, busy_timeout_ms);
    return connection(raw);
  }

 private:
  const fs::path folder_ = fs::temp_directory_path() / ("thrum-sqlite-" + std::to_string(::getpid()));
};
INSTANTIATE_TEST_SUITE_P(workers, sqlite_test, worker_counts, count_name);

int execute(const connection& c, const std::string& statement) {
  return sqlite3_exec(c.get(), statement.c_str(), nullptr, nullptr, nullptr);
}
void command(const connection& c, const std::string& statement) {
  EXPECT_EQ(execute(c, statement), SQLITE_OK) << statement << ": " << sqlite3_errmsg(c.get());
}
int number(const connection& c, const std::string& query) {
  sqlite3_stmt* raw = nullptr;
  EXPECT_EQ(sqlite3_prepare_v2(c.get(), query.c_str(), -1, &raw, nullptr), SQLITE_OK) << sqlite3_errmsg(c.get());
  const std::unique_ptr<sqlite3_stmt, finish> s(raw);
  EXPECT_EQ(sqlite3_step(s.get()), SQLITE_ROW) << sqlite3_errmsg(c.get());
  return sqlite3_column_int(s.get(), 0);
}

TEST_P(sqlite_test, several_writers_wait_for_each_other) {
  run([&] {
    constexpr int writers = 16, each = 5;
    const auto c = open();
    command(c, "create table counter (n int); insert into counter values (0)");
    in_fibers(writers, [&](int) {
      const auto own = open();
      for (int i = 0; i < each; ++i) {
        command(own, "begin immediate");
        const int n = number(own, "select n from counter");
        this_fiber::yield();
        command(own, "update counter set n = " + std::to_string(n + 1));
        command(own, "commit");
      }
    });
    EXPECT_EQ(number(c, "select n from counter"), writers * each);
  });
}

TEST_P(sqlite_test, readers_go_on_beside_a_writer) {
  run([&] {
    constexpr int rows = 100;
    const auto c = open();
    command(c, "pragma journal_mode = wal; create table numbers (n int)");
    std::atomic<bool> over{false};
    std::atomic<long> seen{0};
    scope readers;
    for (int i = 0; i < 8; ++i)
      readers.go([&] {
        const auto own = open();
        for (int last = 0; !over;) {
          const int n = number(own, "select count(*) from numbers");
          EXPECT_GE(n, last);
          last = n;
          ++seen;
          this_fiber::yield();
        }
      });
    for (int i = 0; i < rows; ++i) command(c, "insert into numbers values (" + std::to_string(i) + ")");
    EXPECT_TRUE(eventually([&] { return seen > 8; }));
    over = true;
    readers.join();
    EXPECT_EQ(number(c, "select sum(n) from numbers"), rows * (rows - 1) / 2);
  });
}

// Those who wait for a lock sleep in SQLite's busy handler; whoever holds it shares their threads.
TEST_P(sqlite_test, who_waits_for_a_lock_keeps_no_thread) {
  run([&] {
    constexpr int many = 100;
    const auto c = open();
    command(c, "create table counter (n int); insert into counter values (0); begin immediate");
    std::atomic<int> begun{0};
    scope waiting;
    for (int i = 0; i < many; ++i)
      waiting.go([&] {
        const auto own = open();
        ++begun;
        command(own, "update counter set n = n + 1");
      });
    EXPECT_TRUE(eventually([&] { return begun == many; }));
    settle();
    expect_few_threads(GetParam());
    command(c, "commit");
    waiting.join();
    EXPECT_EQ(number(c, "select n from counter"), many);
  });
}

TEST_P(sqlite_test, waiting_for_a_lock_has_its_limit) {
  run([&] {
    const auto c = open();
    command(c, "create table counter (n int); begin immediate");
    in_fibers(20, [&](int) {
      const auto own = open(20);
      EXPECT_EQ(execute(own, "insert into counter values (1)"), SQLITE_BUSY);
    });
    command(c, "commit");
  });
}

}  // namespace
}  // namespace thrum
