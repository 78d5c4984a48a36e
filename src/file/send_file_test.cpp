// What send_file.hpp promises.
#include <thrum/send_file.hpp>

#include <array>
#include <string>
#include <thread>

#include <fcntl.h>

#include "file_support.hpp"
#include "support.hpp"

namespace thrum {
namespace {

using namespace test;
using net::unix_stream;

class send_file_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, send_file_test, worker_counts, count_name);

std::string much_text(std::size_t size = 2'000'000) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>('a' + (i / 7 + i / 1000) % 26);
  return text;
}

std::string rest_of(net::byte_stream& s) {
  std::string all;
  std::array<char, 65536> buffer;
  while (const auto n = s.read_some(room(buffer))) all.append(buffer.data(), n);
  return all;
}

// What send(stream) sends until it returns.
template <class Send>
std::string sent_by(Send send) {
  auto [near, far] = unix_stream::pair();
  auto sending = spawn([&, &near = near] {
    send(near);
    near.close();
  });
  auto all = rest_of(far);
  sending.join();
  return all;
}

struct served {
  const scratch_directory dir;
  const std::string text = much_text(), path = dir / "served";
  file f;

  served() {
    write_file(path, text);
    f = file::open(path);
  }
};

TEST_P(send_file_test, all_or_the_part_that_is_asked_for_arrives) {
  run([] {
    served s;
    EXPECT_TRUE(sent_by([&](auto& to) { EXPECT_EQ(send_file(to, s.f), s.text.size()); }) == s.text);
    EXPECT_TRUE(sent_by([&](auto& to) { EXPECT_EQ(send_file(to, s.f, 1001, 300'000), 300'000u); }) ==
                s.text.substr(1001, 300'000));
    const auto end = s.text.size() - 5;
    EXPECT_EQ(sent_by([&](auto& to) { EXPECT_EQ(send_file(to, s.f, end, 100), 5u); }), s.text.substr(end));
    EXPECT_EQ(sent_by([&](auto& to) { EXPECT_EQ(send_file(to, s.f, s.text.size()), 0u); }), "");
    EXPECT_EQ(sent_by([&](auto& to) { EXPECT_EQ(send_file(to, s.f, 7, 0), 0u); }), "");
    EXPECT_EQ(s.f.position(), 0u);
  });
}

TEST_P(send_file_test, tasks_send_the_same) {
  run([] {
    served s;
    EXPECT_TRUE(sent_by([&](auto& to) {
                  spawn([&]() -> task<> {
                    std::error_code error;
                    auto n = co_await async_send_file(to, s.f, 0, 1000, error);
                    EXPECT_EQ(n, 1000u);
                    EXPECT_FALSE(error);
                    n = co_await async_send_file(to, s.f, 1000);
                    EXPECT_EQ(n, s.text.size() - 1000);
                  }).join();
                }) == s.text);
  });
}

TEST_P(send_file_test, what_is_not_in_the_page_cache_comes_from_the_disk) {
  run([] {
    served s;
    for (int i = 0; i < 2; ++i) {
      s.f.sync();
      ::posix_fadvise(s.f.native_handle(), 0, 0, POSIX_FADV_DONTNEED);
      EXPECT_TRUE(sent_by([&](auto& to) {
                    if (i == 0) EXPECT_EQ(send_file(to, s.f), s.text.size());
                    if (i == 1) EXPECT_EQ(spawn(async_send_file(to, s.f)).join(), s.text.size());
                  }) == s.text);
    }
  });
}

TEST_P(send_file_test, files_that_the_kernel_does_not_send_are_read_and_written) {
  run([] {
    auto f = file::open("/proc/self/limits");
    const auto text = read_file("/proc/self/limits");
    EXPECT_EQ(sent_by([&](auto& to) { EXPECT_EQ(send_file(to, f), text.size()); }), text);
    EXPECT_EQ(sent_by([&](auto& to) { EXPECT_EQ(spawn(async_send_file(to, f)).join(), text.size()); }), text);
  });
}

TEST_P(send_file_test, errors_of_both_sides_are_told) {
  run([] {
    served s;
    auto [near, far] = unix_stream::pair();
    file none;
    EXPECT_EQ(code_of([&, &near = near] { send_file(near, none); }), std::errc::bad_file_descriptor);
    EXPECT_EQ(code_of([&, &near = near] { send_file(near, s.f, UINT64_MAX); }), std::errc::invalid_argument);
    far.close();
    EXPECT_EQ(code_of([&, &near = near] { send_file(near, s.f); }), std::errc::broken_pipe);
    EXPECT_EQ(code_of([&, &near = near] { spawn(async_send_file(near, s.f)).join(); }), std::errc::broken_pipe);
  });
}

TEST_P(send_file_test, a_cancelled_call_tells_how_much_it_sent_and_breaks_the_stream) {
  run([] {
    served s;
    for (const bool as_task : {false, true}) {
      auto [near, far] = unix_stream::pair();
      std::uint64_t n = 0;
      std::error_code error;
      const auto sending = [&, &near = near] { n = send_file(near, s.f, 0, UINT64_MAX, error); };
      const auto task_sending = [&, &near = near]() -> task<> {
        n = co_await async_send_file(near, s.f, 0, UINT64_MAX, error);
      };
      if (as_task) {
        auto t = spawn(task_sending());
        settle();
        t.request_stop();
        t.join();
      } else {
        auto f = spawn(sending);
        settle();
        f.request_stop();
        f.join();
      }
      EXPECT_EQ(error, std::errc::operation_canceled);
      EXPECT_LT(n, s.text.size());
      if (n > 0) EXPECT_EQ(code_of([&, &near = near] { near.write_all(bytes("no")); }), std::errc::broken_pipe);
      near.close();
      EXPECT_TRUE(rest_of(far) == s.text.substr(0, n));
    }
  });
}

TEST(send_file, threads_do_it_and_get_no_sigpipe) {
  served s;
  std::thread([&] {
    auto [near, far] = unix_stream::pair();
    std::thread reading([&far = far, &s] { EXPECT_TRUE(rest_of(far) == s.text); });
    EXPECT_EQ(send_file(near, s.f), s.text.size());
    near.close();
    reading.join();
    auto [out, gone] = unix_stream::pair();
    gone.close();
    EXPECT_EQ(code_of([&, &out = out] { send_file(out, s.f); }), std::errc::broken_pipe);
  }).join();
}

TEST(send_file, a_simulation_reads_and_writes) {
  sim::run({.seed = 1}, [] {
    served s;
    auto l = net::tcp_listener::bind("127.0.0.1:0");
    auto near = net::tcp_stream::connect("127.0.0.1:" + std::to_string(l.local_port()));
    auto far = l.accept();
    auto sending = spawn([&] {
      EXPECT_EQ(send_file(near, s.f), s.text.size());
      near.shutdown_write();
    });
    EXPECT_TRUE(rest_of(far) == s.text);
    sending.join();
  });
}

}  // namespace
}  // namespace thrum
