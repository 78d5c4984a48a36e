// What directory_walk.hpp promises.
#include <thrum/directory_walk.hpp>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <unistd.h>

#include "file_support.hpp"
#include "support.hpp"

namespace thrum {
namespace {

using namespace test;
namespace fs = std::filesystem;

class directory_walk_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, directory_walk_test, worker_counts, count_name);

using names = std::vector<std::string>;

// a, b/, b/c, b/d/, b/d/e, and links, where there are any: b/up -> .., nowhere -> gone
struct tree {
  const scratch_directory dir;

  tree() {
    for (const char* name : {"b", "b/d"}) make_directory(dir / name);
    for (const char* name : {"a", "b/c", "b/d/e"}) write_file(dir / name, "x");
    if (!dir.has_links()) return;
    fs::create_symlink("..", dir / "b/up");
    fs::create_symlink("gone", dir / "nowhere");
  }
  std::string name_of(const walked_entry& e) const { return e.path.substr(dir.path().size() + 1); }
  names those_that_are_there(names all) const {
    if (!dir.has_links()) std::erase_if(all, [](const auto& name) { return name == "b/up" || name == "nowhere"; });
    return all;
  }
  names all() const { return those_that_are_there({"a", "b", "b/c", "b/d", "b/d/e", "b/up", "nowhere"}); }
  void remove_b() const {
    if (dir.has_links()) remove_file(dir / "b/up");
    for (const char* name : {"b/c", "b/d/e", "b/d", "b"}) remove_file(dir / name);
  }
};

names all_of(const tree& t, const walk_options& options) {
  names all;
  directory_walk w(t.dir.path(), options);
  while (const auto e = w.next()) {
    EXPECT_EQ(static_cast<std::ptrdiff_t>(e->depth), 1 + std::ranges::count(t.name_of(*e), '/'));
    all.push_back(t.name_of(*e) + (e->error ? "!" : ""));
  }
  EXPECT_FALSE(w.next()) << "the end stays";
  std::ranges::sort(all);
  return all;
}

TEST_P(directory_walk_test, every_entry_comes_once_whatever_the_batch) {
  run([] {
    const tree t;
    for (const std::size_t batch : {0, 1, 2, 256}) EXPECT_EQ(all_of(t, {.batch_size = batch}), t.all());
    EXPECT_EQ(all_of(t, {.depth_max = 1}), t.those_that_are_there({"a", "b", "nowhere"}));
    EXPECT_EQ(all_of(t, {.depth_max = 2}), t.those_that_are_there({"a", "b", "b/c", "b/d", "b/up", "nowhere"}));
    EXPECT_EQ(all_of(t, {.depth_max = 0}), names{});
  });
}

TEST_P(directory_walk_test, kinds_are_told_and_directories_come_first) {
  run([] {
    const tree t;
    directory_walk w(t.dir.path());
    names seen;
    while (const auto e = w.next()) {
      const auto name = t.name_of(*e);
      const auto kind = name == "b" || name == "b/d"          ? file_kind::directory
                        : name == "b/up" || name == "nowhere" ? file_kind::link
                                                              : file_kind::regular;
      EXPECT_EQ(e->kind, kind) << name;
      if (e->depth > 1) EXPECT_TRUE(std::ranges::count(seen, name.substr(0, name.rfind('/')))) << name;
      seen.push_back(name);
    }
    EXPECT_EQ(seen.size(), t.all().size());
  });
}

TEST_P(directory_walk_test, links_are_followed_when_asked_for_but_not_in_circles) {
  run([] {
    const tree t;
    EXPECT_EQ(all_of(t, {.follow_links = true}), (names{"a", "b", "b/c", "b/d", "b/d/e", "b/up", "b/up!", "nowhere"}));
  });
}

TEST_P(directory_walk_test, what_is_skipped_is_not_gone_into) {
  run([] {
    const tree t;
    directory_walk w(t.dir.path());
    names seen;
    while (const auto e = w.next()) {
      seen.push_back(t.name_of(*e));
      if (seen.back() == "b") w.skip();
    }
    std::ranges::sort(seen);
    EXPECT_EQ(seen, t.those_that_are_there({"a", "b", "nowhere"}));
  });
}

TEST_P(directory_walk_test, a_directory_that_is_gone_is_an_entry_with_an_error_and_the_walk_goes_on) {
  run([] {
    const tree t;
    directory_walk w(t.dir.path());
    names seen;
    std::error_code why;
    while (const auto e = w.next()) {
      if (e->error) {
        why = e->error;
        EXPECT_EQ(e->depth, 1u);
      }
      seen.push_back(t.name_of(*e));
      if (seen.back() == "b" && !e->error) t.remove_b();
    }
    std::ranges::sort(seen);
    EXPECT_EQ(seen, t.those_that_are_there({"a", "b", "b", "nowhere"}));
    EXPECT_EQ(why, std::errc::no_such_file_or_directory);
  });
}

TEST_P(directory_walk_test, nobody_leads_it_elsewhere_by_a_link) {
  run([] {
    const tree t;
    const scratch_directory secret;
    write_file(secret / "secret", "x");
    directory_walk w(t.dir.path());
    while (const auto e = w.next()) {
      EXPECT_EQ(e->path.find("secret"), std::string::npos);
      if (t.name_of(*e) == "b" && !e->error) {
        fs::remove_all(t.dir / "b");
        fs::create_symlink(secret.path(), t.dir / "b");
      }
    }
  });
}

TEST_P(directory_walk_test, the_first_directory_must_be_there) {
  run([] {
    const tree t;
    std::error_code error;
    EXPECT_FALSE(directory_walk(t.dir / "gone").next(error));
    EXPECT_EQ(error, std::errc::no_such_file_or_directory);
    EXPECT_FALSE(directory_walk(t.dir / "a").next(error));
    EXPECT_EQ(error, std::errc::not_a_directory);
    EXPECT_THROW(directory_walk(t.dir / "gone").next(), std::system_error);
  });
}

TEST_P(directory_walk_test, tasks_walk_the_same) {
  run([] {
    const tree t;
    std::size_t count = 0;
    spawn([&]() -> task<> {
      directory_walk w(t.dir.path(), {.batch_size = 2});
      std::error_code error;
      auto e = co_await w.async_next(error);
      EXPECT_FALSE(error);
      while (e) {
        ++count;
        e = co_await w.async_next();
      }
    }).join();
    EXPECT_EQ(count, t.all().size());
  });
}

TEST_P(directory_walk_test, a_cancelled_call_skips_nothing) {
  run([] {
    const tree t;
    directory_walk w(t.dir.path(), {.batch_size = 2});
    names seen;
    for (bool more = true; more;) {
      {
        scope s;
        s.cancel();
        std::error_code error;
        EXPECT_FALSE(w.next(error));
        EXPECT_EQ(error, std::errc::operation_canceled);
        EXPECT_THROW(w.next(), cancelled);
      }
      std::optional<walked_entry> taken;
      std::error_code error;
      auto stopped = spawn([&]() -> task<> { taken = co_await w.async_next(error); });
      stopped.request_stop();
      stopped.join();
      EXPECT_TRUE(!error || (error == std::errc::operation_canceled && !taken));
      if (taken) seen.push_back(t.name_of(*taken));
      const auto e = w.next();
      more = e.has_value();
      if (more) seen.push_back(t.name_of(*e));
    }
    std::ranges::sort(seen);
    EXPECT_EQ(seen, t.all());
  });
}

TEST_P(directory_walk_test, a_large_directory_comes_in_batches_and_nothing_is_left_open) {
  run([] {
    const scratch_directory dir;
    for (int i = 0; i < 700; ++i) write_file(dir / std::to_string(i), "");
    std::size_t count = 0;
    {
      directory_walk w(dir.path());
      while (w.next()) ++count;
    }
    EXPECT_EQ(count, 700u);
    directory_walk left_in_the_middle(dir.path());
    EXPECT_TRUE(left_in_the_middle.next());
  });
}

TEST(directory_walk, threads_walk_too) {
  const tree t;
  std::thread([&] { EXPECT_EQ(all_of(t, {}).size(), 7u); }).join();
}

TEST(directory_walk, goes_through_simulated_disks) {
  sim::run({.seed = 1}, [] {
    make_directory("/tmp/b");
    make_directory("/tmp/b/d");
    for (const char* path : {"/tmp/a", "/tmp/b/c", "/tmp/b/d/e"}) write_file(path, "x");
    names seen;
    directory_walk w("/tmp");
    while (const auto e = w.next()) {
      EXPECT_EQ(e->kind, e->path == "/tmp/b" || e->path == "/tmp/b/d" ? file_kind::directory : file_kind::regular);
      seen.push_back(e->path);
    }
    EXPECT_EQ(seen, (names{"/tmp/a", "/tmp/b", "/tmp/b/c", "/tmp/b/d", "/tmp/b/d/e"}));
    std::error_code error;
    EXPECT_FALSE(directory_walk("/tmp/a").next(error));
    EXPECT_EQ(error, std::errc::not_a_directory);
  });
}

}  // namespace
}  // namespace thrum
