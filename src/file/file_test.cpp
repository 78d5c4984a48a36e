// What file.hpp promises, but for tasks: file_task_test.cpp.
#include <thrum/file.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "file_support.hpp"
#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

class file_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, file_test, worker_counts, count_name);

TEST_P(file_test, what_is_written_can_be_read) {
  run([] {
    const scratch_directory dir;
    const auto path = dir / "a";
    auto f = file::open(path, {.read = true, .write = true, .create = true});
    EXPECT_TRUE(f.is_open());
    EXPECT_EQ(f.write_all(bytes("hello, world")), 12u);
    EXPECT_EQ(f.position(), 12u);
    EXPECT_EQ(f.size(), 12u);
    f.data_sync();
    f.sync();
    f.seek(7);
    std::array<char, 64> buffer;
    const auto some = f.read_some(room(buffer).first(3));
    EXPECT_EQ(text(buffer, some), std::string_view("wor").substr(0, some));
    EXPECT_GE(some, 1u);
    f.seek(10);
    EXPECT_EQ(f.read_all(room(buffer)), 2u);
    EXPECT_EQ(text(buffer, 2), "ld");
    EXPECT_EQ(f.read_some(room(buffer)), 0u);
    EXPECT_EQ(f.read_some({}), 0u);
    f.truncate(5);
    EXPECT_EQ(f.size(), 5u);
    f.close();
    EXPECT_FALSE(f.is_open());
    EXPECT_EQ(read_file(path), "hello");
  });
}

TEST_P(file_test, reads_and_writes_at_an_offset_leave_the_position_alone) {
  run([] {
    const scratch_directory dir;
    auto f = file::open(dir / "a", {.read = true, .write = true, .create = true});
    EXPECT_EQ(f.write_at(6, bytes("there")), 5u);
    EXPECT_EQ(f.write_at(0, bytes("hello ")), 6u);
    EXPECT_EQ(f.position(), 0u);
    std::array<char, 64> buffer;
    EXPECT_EQ(f.read_at(6, room(buffer)), 5u);
    EXPECT_EQ(text(buffer, 5), "there");
    EXPECT_EQ(f.read_at(0, room(buffer).first(5)), 5u);
    EXPECT_EQ(text(buffer, 5), "hello");
    EXPECT_EQ(f.read_at(100, room(buffer)), 0u);
    EXPECT_EQ(f.position(), 0u);
  });
}

TEST_P(file_test, options_of_open_do_what_they_say) {
  run([] {
    const scratch_directory dir;
    const auto path = dir / "a";
    std::error_code error;
    (void)file::open(path, {.read = true}, error);
    EXPECT_EQ(error, std::errc::no_such_file_or_directory);
    (void)file::open(path, {.write = true, .create = true, .exclusive = true, .permissions = 0600}, error);
    EXPECT_FALSE(error);
    EXPECT_EQ(stat_file(path).permissions, 0600u);
    (void)file::open(path, {.write = true, .create = true, .exclusive = true}, error);
    EXPECT_EQ(error, std::errc::file_exists);
    write_file(path, "0123456789");
    file::open(path, {.append = true}).write_all(bytes("ab"));
    EXPECT_EQ(read_file(path), "0123456789ab");
    file::open(path, {.write = true}).write_all(bytes("XY"));
    EXPECT_EQ(read_file(path), "XY23456789ab");
    (void)file::open(path, {.write = true, .truncate = true});
    EXPECT_EQ(read_file(path), "");
    for (const open_options& senseless : {open_options{}, open_options{.read = true, .exclusive = true},
                                          open_options{.read = true, .truncate = true}}) {
      (void)file::open(path, senseless, error);
      EXPECT_EQ(error, std::errc::invalid_argument);
    }
  });
}

TEST_P(file_test, errors_are_thrown_or_reported) {
  run([] {
    const scratch_directory dir;
    EXPECT_THROW(file::open(dir / "nothing"), std::system_error);
    EXPECT_THROW(read_file(dir / "nothing"), std::system_error);
    std::error_code error = std::make_error_code(std::errc::io_error);
    write_file(dir / "a", "abc", error);
    EXPECT_FALSE(error);
    auto f = file::open(dir / "a");
    EXPECT_EQ(f.write_all(bytes("x"), error), 0u);
    EXPECT_EQ(error, std::errc::bad_file_descriptor);
    EXPECT_THROW(f.truncate(1), std::system_error);
    file none;
    std::array<char, 4> buffer;
    EXPECT_EQ(none.read_some(room(buffer), error), 0u);
    EXPECT_EQ(error, std::errc::bad_file_descriptor);
    none.close(error);
    EXPECT_EQ(error, std::errc::bad_file_descriptor);
    EXPECT_THROW(none.seek(0), std::system_error);
    EXPECT_THROW(static_cast<void>(none.position()), std::system_error);
    EXPECT_EQ(read_file(dir / "nothing", error), "");
    EXPECT_EQ(error, std::errc::no_such_file_or_directory);
    EXPECT_EQ(list_directory(dir / "a", error).size(), 0u);
    EXPECT_EQ(error, std::errc::not_a_directory);
  });
}

TEST_P(file_test, whole_files_of_any_size) {
  run([] {
    const scratch_directory dir;
    const auto path = dir / "a";
    for (const std::size_t size : {0, 1, 4095, 4096, 4097, 3'000'000}) {
      std::string data(size, 'x');
      for (std::size_t i = 0; i < size; ++i) data[i] = static_cast<char>('a' + i % 23);
      write_file(path, data);
      EXPECT_TRUE(read_file(path) == data) << size;
      EXPECT_EQ(stat_file(path).size, size);
    }
  });
}

TEST_P(file_test, of_the_kernels_own_which_do_not_tell_their_size) {
  run([] { EXPECT_GT(read_file("/proc/self/maps").size(), 4096u); });
}

TEST_P(file_test, directories_are_made_listed_and_removed) {
  run([] {
    const scratch_directory dir;
    make_directory(dir / "sub");
    write_file(dir / "b", "");
    write_file(dir / "c", "abc");
    if (dir.has_links())
      std::filesystem::create_symlink("c", dir / "link");
    else
      write_file(dir / "link", "abc");
    auto all = list_directory(dir.path());
    std::sort(all.begin(), all.end(), [](const auto& x, const auto& y) { return x.name < y.name; });
    ASSERT_EQ(all.size(), 4u);
    const std::array<std::pair<const char*, file_kind>, 4> expected{
        {{"b", file_kind::regular},
         {"c", file_kind::regular},
         {"link", dir.has_links() ? file_kind::link : file_kind::regular},
         {"sub", file_kind::directory}}};
    for (std::size_t i = 0; i < 4; ++i) {
      EXPECT_EQ(all[i].name, expected[i].first);
      EXPECT_TRUE(all[i].kind == expected[i].second || all[i].kind == file_kind::unknown);
    }
    EXPECT_EQ(stat_file(dir / "sub").kind, file_kind::directory);
    EXPECT_EQ(stat_file(dir / "link").kind, file_kind::regular);
    rename_file(dir / "c", dir / "sub/d");
    EXPECT_EQ(read_file(dir / "sub/d"), "abc");
    std::error_code error;
    remove_file(dir / "sub", error);
    EXPECT_TRUE(error == std::errc::directory_not_empty || error == std::errc::file_exists);
    make_directory(dir / "sub", error);
    EXPECT_EQ(error, std::errc::file_exists);
    for (const char* name : {"sub/d", "sub", "b", "link"}) remove_file(dir / name);
    EXPECT_TRUE(list_directory(dir.path()).empty());
  });
}

TEST_P(file_test, many_fibers_use_one_file) {
  run([] {
    const scratch_directory dir;
    auto f = file::open(dir / "a", {.read = true, .write = true, .create = true});
    for_each_concurrent(std::vector<unsigned>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, 4, [&](unsigned i) {
      const std::string block(1000, static_cast<char>('0' + i));
      f.write_at(1000 * i, bytes(block));
      std::string back(1000, ' ');
      EXPECT_EQ(f.read_at(1000 * i, room(back)), 1000u);
      EXPECT_EQ(back, block);
    });
    EXPECT_EQ(f.size(), 10'000u);
  });
}

// Where the file system can tell; and it may forget at any time.
TEST_P(file_test, what_is_in_the_page_cache_is_read_without_the_pool) {
  run([] {
    const scratch_directory dir;
    write_file(dir / "a", std::string(8192, 'x'));
    auto f = file::open(dir / "a");
    std::array<char, 4096> buffer;
    const iovec all{buffer.data(), buffer.size()};
    if (::preadv2(f.native_handle(), &all, 1, 0, RWF_NOWAIT) < 0) GTEST_SKIP() << "not on this file system";
    const auto costs_no_offloaded_call = [](auto read) {
      return eventually([&] {
        const auto before = blocking_stats().completed;
        EXPECT_EQ(read(), 4096u);
        return blocking_stats().completed == before;
      });
    };
    EXPECT_TRUE(costs_no_offloaded_call([&] { return f.read_at(4096, room(buffer)); }));
    EXPECT_TRUE(costs_no_offloaded_call([&] {
      f.seek(0);
      return f.read_some(room(buffer));
    }));
    EXPECT_EQ(f.position(), 4096u);
    const auto use = [&]() -> task<std::size_t> { return f.async_read_at(0, room(buffer)); };
    EXPECT_TRUE(costs_no_offloaded_call([&] { return spawn(use()).join(); }));
  });
}

// The pool's only thread is busy meanwhile.
TEST_P(file_test, calls_at_an_offset_and_syncs_need_no_thread_of_the_pool_where_there_is_io_uring) {
  run([] {
    const scratch_directory dir;
    auto f = file::open(dir / "a", {.read = true, .write = true, .create = true});
    f.write_at(0, bytes("ab"));
    if (!file_engine().is_io_uring) GTEST_SKIP() << file_engine().reason;
    std::atomic<bool> begun{false}, let_go{false};
    set_blocking_threads_max(1);
    fiber hog = spawn([&] {
      blocking([&] {
        begun = true;
        EXPECT_TRUE(eventually([&] { return let_go.load(); }));
      });
    });
    EXPECT_TRUE(eventually([&] { return begun.load(); }));
    const std::string data(3'000'000, 'x');  // Longer than what is looked for in the page cache.
    EXPECT_EQ(f.write_at(7, bytes(data)), data.size());
    std::string back(data.size() + 7, ' ');
    EXPECT_EQ(f.read_at(0, room(back)), back.size());
    EXPECT_TRUE(back == "ab" + std::string(5, '\0') + data);
    f.sync();
    f.data_sync();
    const auto use = [&]() -> task<std::size_t> {
      co_await f.async_data_sync();
      co_return co_await f.async_write_at(2, bytes("cdefg")) + co_await f.async_read_at(0, room(back));
    };
    EXPECT_EQ(spawn(use()).join(), 5 + back.size());
    EXPECT_EQ(back.substr(0, 8), "abcdefgx");
    let_go = true;
    hog.join();
    set_blocking_threads_max(64);
  });
}

// As pread(2) and pwrite(2) have it.
TEST_P(file_test, what_has_no_offsets_cannot_be_read_or_written_at_one) {
  run([] {
    int fd[2];
    ASSERT_EQ(::pipe2(fd, O_CLOEXEC), 0);
    auto in = file::adopt(fd[0]), out = file::adopt(fd[1]);
    EXPECT_EQ(out.write_all(bytes("abc")), 3u);
    std::error_code error;
    EXPECT_EQ(out.write_at(0, bytes("x"), error), 0u);
    EXPECT_EQ(error, std::errc::invalid_seek);
    std::array<char, 8> buffer;
    EXPECT_EQ(in.read_at(0, room(buffer), error), 0u);
    EXPECT_EQ(error, std::errc::invalid_seek);
    EXPECT_EQ(in.read_some(room(buffer)), 3u);
    file none;
    none.sync(error);
    EXPECT_EQ(error, std::errc::bad_file_descriptor);
    EXPECT_EQ(none.write_at(0, bytes("x"), error), 0u);
    EXPECT_EQ(error, std::errc::bad_file_descriptor);
  });
}

// The first part may come from the page cache, the rest and the end from elsewhere.
TEST_P(file_test, a_read_that_is_larger_than_the_file_ends_with_it) {
  run([] {
    const scratch_directory dir;
    const std::string data(5000, 'y');
    write_file(dir / "a", data);
    auto f = file::open(dir / "a");
    std::string buffer(9000, ' ');
    EXPECT_EQ(f.read_at(1000, room(buffer)), 4000u);
    EXPECT_EQ(buffer.substr(0, 4001), std::string(4000, 'y') + ' ');
    EXPECT_EQ(f.read_all(room(buffer)), 5000u);
    EXPECT_EQ(buffer.substr(0, 5001), data + ' ');
    EXPECT_EQ(f.read_all(room(buffer)), 0u);
    std::error_code error;
    EXPECT_EQ(f.read_at(UINT64_MAX, room(buffer), error), 0u);
    EXPECT_EQ(error, std::errc::invalid_argument);
  });
}

// No worker is blocked meanwhile: with one worker, its other fibers go on.
TEST_P(file_test, a_fifo_without_a_writer_blocks_its_reader_only) {
  run([] {
    const scratch_directory dir;
    const auto path = dir / "fifo";
    ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
    std::string got;
    fiber reader = spawn([&] { got = read_file(path); });
    EXPECT_TRUE(eventually([] { return blocking_stats().running == 1; }));
    auto writer = file::open(path, {.write = true});
    writer.write_all(bytes("abc"));
    settle();
    writer.write_all(bytes("def"));
    writer.close();
    reader.join();
    EXPECT_EQ(got, "abcdef");
  });
}

// Calls that are cancelled before they have begun did not happen.
TEST_P(file_test, in_a_cancelled_scope_nothing_happens) {
  run([] {
    const scratch_directory dir;
    auto f = file::open(dir / "a", {.read = true, .write = true, .create = true});
    scope s;
    s.cancel();
    std::error_code error;
    std::array<char, 4> buffer;
    EXPECT_EQ(f.read_some(room(buffer), error), 0u);
    EXPECT_EQ(error, std::errc::operation_canceled);
    EXPECT_THROW(f.read_all(room(buffer)), cancelled);
    EXPECT_THROW(f.read_at(0, room(buffer)), cancelled);
    EXPECT_THROW(f.write_all(bytes("x")), cancelled);
    EXPECT_THROW(f.write_at(0, bytes("x")), cancelled);
    EXPECT_THROW(f.sync(), cancelled);
    EXPECT_THROW(f.data_sync(), cancelled);
    EXPECT_THROW(f.size(), cancelled);
    EXPECT_THROW(f.truncate(9), cancelled);
    EXPECT_THROW(f.close(), cancelled);
    EXPECT_TRUE(f.is_open());
    EXPECT_THROW(file::open(dir / "b", {.write = true, .create = true}), cancelled);
    EXPECT_THROW(read_file(dir / "a"), cancelled);
    EXPECT_THROW(write_file(dir / "b", "x"), cancelled);
    EXPECT_THROW(stat_file(dir / "a"), cancelled);
    EXPECT_THROW(list_directory(dir.path()), cancelled);
    EXPECT_THROW(make_directory(dir / "b"), cancelled);
    EXPECT_THROW(remove_file(dir / "a"), cancelled);
    EXPECT_THROW(rename_file(dir / "a", dir / "b"), cancelled);
    s.join();
    EXPECT_EQ(f.size(), 0u);
    EXPECT_EQ(list_directory(dir.path()).size(), 1u);
  });
}

TEST_P(file_test, a_queued_call_that_is_cancelled_did_not_happen) {
  run([] {
    const scratch_directory dir;
    auto f = file::open(dir / "a", {.read = true, .write = true, .create = true});
    std::atomic<bool> begun{false}, let_go{false};
    set_blocking_threads_max(1);
    fiber hog = spawn([&] {
      blocking([&] {
        begun = true;
        EXPECT_TRUE(eventually([&] { return let_go.load(); }));
      });
    });
    EXPECT_TRUE(eventually([&] { return begun.load(); }));
    std::error_code error;
    fiber writer = spawn([&] { EXPECT_EQ(f.write_all(bytes("x"), error), 0u); });
    EXPECT_TRUE(eventually([] { return blocking_stats().queued == 1; }));
    writer.request_stop();
    writer.join();
    EXPECT_EQ(error, std::errc::operation_canceled);
    let_go = true;
    hog.join();
    set_blocking_threads_max(64);
    EXPECT_EQ(f.size(), 0u);
  });
}

TEST(file_of_a_thread, works_without_a_runtime) {
  const scratch_directory dir;
  write_file(dir / "a", "abc");
  auto f = file::open(dir / "a");
  file g = std::move(f);
  EXPECT_FALSE(f.is_open());
  std::array<char, 4> buffer;
  EXPECT_EQ(g.read_some(room(buffer)), 3u);
  g.close();
}

TEST(file_of_a_simulation, is_not_the_real_one) {
  const scratch_directory dir;
  sim::run({.seed = 5}, [&] {
    std::error_code error;
    write_file(dir / "a", "abc", error);
    EXPECT_EQ(error, std::errc::no_such_file_or_directory);
    auto adopted = file::adopt(1);
    (void)adopted.size(error);
    EXPECT_EQ(error, std::errc::operation_not_supported);
    adopted.release();
    write_file("/tmp/a", "abc");
    EXPECT_EQ(read_file("tmp/a"), "abc");
    const auto use = []() -> task<std::string> { return async_read_file("/tmp/../tmp/./a"); };
    EXPECT_EQ(spawn(use()).join(), "abc");
  });
  EXPECT_TRUE(list_directory(dir.path()).empty());
}

}  // namespace
}  // namespace thrum
