// What unix_stream.hpp and unix_listener.hpp promise. Reading and writing are those of all streams: see tcp_test.cpp.
#include <thrum/net/unix_datagram.hpp>
#include <thrum/net/unix_listener.hpp>
#include <thrum/net/unix_stream.hpp>

#include <array>
#include <cstring>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "file_support.hpp"
#include "support.hpp"
#include "tcp_support.hpp"

namespace thrum::net {
namespace {

using namespace test;

class unix_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, unix_test, worker_counts, count_name);

bool exists(const std::string& path) {
  std::error_code error;
  stat_file(path, error);
  return !error;
}

std::string text_from(byte_stream& s, std::size_t size) {
  std::string text(size, '\0');
  s.read_exactly(std::as_writable_bytes(std::span(text)));
  return text;
}

// Read in one call if the link carries it in one piece, and never beyond.
std::string text_with(unix_stream& s, std::size_t size, descriptor& d) {
  std::string text(64, '\0');
  text.resize(s.receive_descriptor(std::as_writable_bytes(std::span(text)), d));
  EXPECT_LE(text.size(), size);
  return text + text_from(s, size - text.size());
}

// A pipe, whose writing end is sent and whose reading end tells what came through it.
struct a_pipe {
  a_pipe() {
    int ends[2];
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    in = descriptor(ends[0]);
    out = descriptor(ends[1]);
  }
  descriptor in, out;
};

void expect_to_be(const descriptor& d, a_pipe& p) {
  ASSERT_TRUE(d.is_open());
  EXPECT_TRUE(::fcntl(d.native_handle(), F_GETFD) & FD_CLOEXEC);
  char c = 0;
  EXPECT_EQ(::write(d.native_handle(), "!", 1), 1);
  EXPECT_EQ(::read(p.in.native_handle(), &c, 1), 1);
  EXPECT_EQ(c, '!');
}

void send_raw(const unix_stream& s, std::vector<int> fds) {
  alignas(cmsghdr) std::array<std::byte, 256> control{};
  iovec part{const_cast<char*>("x"), 1};
  msghdr m{};
  m.msg_iov = &part;
  m.msg_iovlen = 1;
  m.msg_control = control.data();
  m.msg_controllen = CMSG_LEN(fds.size() * sizeof(int));
  cmsghdr* c = CMSG_FIRSTHDR(&m);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
  std::memcpy(CMSG_DATA(c), fds.data(), fds.size() * sizeof(int));
  ASSERT_EQ(::sendmsg(s.native_handle(), &m, 0), 1);
}

TEST_P(unix_test, paths_and_abstract_names_connect) {
  run([] {
    const scratch_directory d;
    const auto abstract = "@" + d.path();
    for (const auto& name : {d / "s", abstract}) {
      auto l = unix_listener::bind(name);
      EXPECT_EQ(l.local_address(), name);
      auto client = unix_stream::connect(name);
      auto server = l.accept();
      EXPECT_EQ(client.remote_address(), name);
      EXPECT_EQ(server.local_address(), name);
      EXPECT_EQ(client.local_address(), "");
      client.write_all(bytes("hello"));
      EXPECT_EQ(text_from(server, 5), "hello");
      server.write_all(bytes("you"));
      EXPECT_EQ(text_from(client, 3), "you");
    }
    EXPECT_TRUE(list_directory(d.path()).empty());
    EXPECT_EQ(unix_stream().local_address(), "");
  });
}

TEST_P(unix_test, one_side_ends_and_the_other_goes_on) {
  run([] {
    auto [a, b] = unix_stream::pair();
    a.write_all(bytes("question"));
    a.shutdown_write();
    EXPECT_EQ(text_from(b, 8), "question");
    std::array<std::byte, 1> one;
    EXPECT_EQ(b.read_some(one), 0u);
    b.write_all(bytes("answer"));
    EXPECT_EQ(text_from(a, 6), "answer");
  });
}

TEST_P(unix_test, both_ends_read_and_write_at_once) {
  run([] {
    auto [a, b] = unix_stream::pair();
    std::vector<std::byte> data(3 << 20);
    for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::byte>(i * 7 / 5);
    const auto drain = [&](unix_stream& s) {
      std::vector<std::byte> got(data.size());
      s.read_exactly(got);
      EXPECT_EQ(got, data);
    };
    scope s;
    for (auto* end : {&a, &b}) {
      s.go([&, end] { end->write_all(data); });
      s.go([&, end] { drain(*end); });
    }
    s.join();
  });
}

TEST_P(unix_test, the_file_goes_with_the_listener) {
  run([] {
    const scratch_directory d;
    const auto name = d / "s";
    {
      auto l = unix_listener::bind(name);
      auto moved = std::move(l);
      EXPECT_TRUE(exists(name));
      moved.close();
      EXPECT_FALSE(exists(name));
      moved.close();
      moved = unix_listener::bind(name);
      EXPECT_TRUE(exists(name));
    }
    EXPECT_FALSE(exists(name));
  });
}

TEST_P(unix_test, the_file_of_somebody_else_stays) {
  run([] {
    const scratch_directory d;
    auto first = unix_listener::bind(d / "s");
    rename_file(d / "s", d / "away");
    auto second = unix_listener::bind(d / "s");
    first.close();
    EXPECT_TRUE(exists(d / "s"));
    EXPECT_TRUE(unix_stream::connect(d / "s").is_open());
  });
}

// As a process leaves it that was killed.
void leave_stale(const std::string& name) {
  auto l = unix_listener::bind(name);
  rename_file(name, name + ".kept");
  l.close();
  rename_file(name + ".kept", name);
}

TEST_P(unix_test, only_a_stale_file_is_replaced_and_only_on_request) {
  run([] {
    const scratch_directory d;
    const unix_listen_options replacing{.replace_stale = true};
    leave_stale(d / "s");
    EXPECT_EQ(code_of([&] { unix_stream::connect(d / "s"); }), std::errc::connection_refused);
    EXPECT_EQ(code_of([&] { unix_listener::bind(d / "s"); }), std::errc::address_in_use);
    auto l = unix_listener::bind(d / "s", replacing);
    std::error_code error;
    EXPECT_FALSE(unix_listener::bind(d / "s", replacing, error).is_open());
    EXPECT_EQ(error, std::errc::address_in_use);  // Somebody listens.
    EXPECT_TRUE(unix_stream::connect(d / "s").is_open());
    write_file(d / "file", "precious");
    EXPECT_EQ(code_of([&] { unix_listener::bind(d / "file", replacing); }), std::errc::address_in_use);
    EXPECT_TRUE(exists(d / "file"));
  });
}

TEST_P(unix_test, what_is_no_listener_is_told) {
  run([] {
    const scratch_directory d;
    const auto connecting_to = [](const std::string& name) { return code_of([&] { unix_stream::connect(name); }); };
    auto l = unix_listener::bind(d / "s");
    EXPECT_EQ(connecting_to(d.path()), std::errc::connection_refused);
    EXPECT_EQ(connecting_to(d / "s/t"), std::errc::not_a_directory);
    EXPECT_EQ(connecting_to("@" + d.path()), std::errc::connection_refused);
    EXPECT_EQ(code_of([&] { unix_datagram::open().set_peer(d / "s"); }), std::errc::wrong_protocol_type);
    EXPECT_EQ(code_of([&] { file::open(d / "s"); }), std::errc::no_such_device_or_address);
    rename_file(d / "s", d / "t");
    EXPECT_EQ(connecting_to(d / "s"), std::errc::no_such_file_or_directory);
    EXPECT_EQ(connecting_to(d / "t"), std::error_code());
  });
}

TEST_P(unix_test, closing_with_bytes_unread_is_a_reset_that_loses_none_of_the_others) {
  run([] {
    auto [a, b] = unix_stream::pair();
    a.write_all(bytes("unread"));
    b.write_all(bytes("kept"));
    b.close();
    this_fiber::sleep_for(a_moment);  // So that the reset comes before the reading of what was sent before it.
    EXPECT_EQ(code_of([&, &a = a] { a.write_some(bytes("x")); }), std::errc::broken_pipe);
    EXPECT_EQ(text_from(a, 4), "kept");
    std::array<std::byte, 1> one;
    EXPECT_EQ(code_of([&, &a = a] { a.read_some(one); }), std::errc::connection_reset);
  });
}

TEST_P(unix_test, a_connection_that_nobody_accepted_is_reset) {
  run([] {
    auto l = unix_listener::bind("@thrum_never" + std::to_string(::getpid()));
    auto client = unix_stream::connect(l.local_address());
    l.close();
    EXPECT_EQ(code_of([&] { text_from(client, 1); }), std::errc::connection_reset);
  });
}

TEST_P(unix_test, names_that_cannot_be_are_told) {
  run([] {
    EXPECT_EQ(code_of([] { unix_listener::bind(""); }), std::errc::invalid_argument);
    EXPECT_EQ(code_of([] { unix_stream::connect(std::string("a\0b", 3)); }), std::errc::invalid_argument);
    EXPECT_EQ(code_of([] { unix_stream::connect(std::string(108, 'x')); }), std::errc::filename_too_long);
    EXPECT_EQ(code_of([] { unix_listener::bind("@" + std::string(107, 'x')); }), std::errc::filename_too_long);
    EXPECT_EQ(code_of([] { unix_stream::connect("/nowhere/at/all"); }), std::errc::no_such_file_or_directory);
    EXPECT_EQ(code_of([] { unix_listener::bind("/nowhere/at/all"); }), std::errc::no_such_file_or_directory);
  });
}

TEST_P(unix_test, a_descriptor_comes_with_its_byte) {
  run([] {
    auto [a, b] = unix_stream::pair();
    a_pipe p;
    a.write_all(bytes("before"));
    a.send_descriptor(p.out.native_handle(), bytes("with"));
    a.write_all(bytes("after"));
    EXPECT_EQ(text_from(b, 6), "before");
    std::array<std::byte, 64> buffer;
    descriptor d;
    EXPECT_EQ(text_with(b, 4, d), "with");
    expect_to_be(d, p);
    EXPECT_EQ(text_with(b, 5, d), "after");
    EXPECT_FALSE(d.is_open());  // None came.
    a.close();
    EXPECT_EQ(b.receive_descriptor(buffer, d), 0u);
  });
}

TEST_P(unix_test, several_descriptors_arrive_in_order) {
  run([] {
    auto [a, b] = unix_stream::pair();
    std::array<a_pipe, 5> pipes;
    fiber sender = spawn([&, &a = a] {
      for (auto& p : pipes) a.send_descriptor(p.out.native_handle(), bytes("d"));
    });
    std::array<std::byte, 64> buffer;
    for (auto& p : pipes) {
      descriptor d;
      EXPECT_EQ(b.receive_descriptor(buffer, d), 1u);
      expect_to_be(d, p);
    }
    sender.join();
  });
}

// Such a read is short, though there is more.
TEST_P(unix_test, a_reader_that_does_not_want_them_loses_no_byte) {
  run([] {
    auto [a, b] = unix_stream::pair();
    a_pipe p;
    std::array<std::byte, 64> buffer;
    fiber reader = spawn([&, &b = b] {
      std::size_t got = 0;
      for (std::size_t n; (n = b.read_some(buffer)) != 0;) got += n;
      EXPECT_EQ(got, 300u);
    });
    settle();
    for (int i = 0; i < 100; ++i) {
      a.write_all(bytes("a"));
      a.send_descriptor(p.out.native_handle(), bytes("b"));
      a.write_all(bytes("c"));
    }
    a.shutdown_write();
    reader.join();
  });
}

TEST_P(unix_test, surplus_descriptors_are_closed_and_told) {
  run([] {
    auto [a, b] = unix_stream::pair();
    send_raw(a, {0, 1, 2});
    std::array<std::byte, 4> buffer;
    descriptor d;
    std::error_code error;
    const auto before = open_descriptors();
    EXPECT_EQ(b.receive_descriptor(buffer, d, error), 1u);
    EXPECT_EQ(error, std::errc::message_size);
    EXPECT_FALSE(d.is_open());
    expect_no_more_descriptors_than(before);
    a.write_all(bytes("y"));
    EXPECT_EQ(text_from(b, 1), "y");
  });
}

TEST(unix_limits, without_room_the_descriptor_is_lost_and_that_is_told) {
  with_runtime({.workers = 1}, [](runtime&) {
    auto [a, b] = unix_stream::pair();
    a.send_descriptor(0, bytes("x"));
    std::array<std::byte, 4> buffer;
    descriptor d;
    std::error_code error;
    descriptor_limit tight(3);
    const auto n = b.receive_descriptor(buffer, d, error);
    tight.lift();
    EXPECT_EQ(n, 1u);
    EXPECT_EQ(error, std::errc::too_many_files_open);
    EXPECT_FALSE(d.is_open());
    a.send_descriptor(0, bytes("y"));
    EXPECT_EQ(b.receive_descriptor(buffer, d), 1u);
    EXPECT_TRUE(d.is_open());
  });
}

TEST_P(unix_test, what_cannot_be_sent_is_told) {
  run([] {
    auto [a, b] = unix_stream::pair();
    EXPECT_EQ(code_of([&, &a = a] { a.send_descriptor(0, {}); }), std::errc::invalid_argument);
    EXPECT_EQ(code_of([&, &a = a] { a.send_descriptor(-1, bytes("x")); }), std::errc::bad_file_descriptor);
    a.write_all(bytes("fine"));
    EXPECT_EQ(text_from(b, 4), "fine");
    a.set_timeout(10ms);
    const std::vector<std::byte> much(16 << 20);
    std::error_code error;
    const auto sent = a.send_descriptor(0, much, error);
    EXPECT_EQ(error, std::errc::timed_out);
    EXPECT_TRUE(sent > 0 && sent < much.size());
    EXPECT_EQ(code_of([&, &a = a] { a.send_descriptor(0, bytes("x")); }), std::errc::broken_pipe);
    EXPECT_EQ(code_of([&, &a = a] { a.write_all(bytes("x")); }), std::errc::broken_pipe);
  });
}

// Connects until the queue of a listener is full.
std::vector<unix_stream> fill_queue(const std::string& name) {
  std::vector<unix_stream> waiting;
  for (std::error_code error;;) {
    auto s = unix_stream::connect(name, 3ms, error);
    if (error) {
      EXPECT_EQ(error, std::errc::timed_out);
      return waiting;
    }
    waiting.push_back(std::move(s));
  }
}

TEST_P(unix_test, connecting_waits_for_room_in_the_queue) {
  run([] {
    const scratch_directory d;
    auto l = unix_listener::bind(d / "s", {.backlog = 1});
    auto waiting = fill_queue(d / "s");
    EXPECT_GT(waiting.size(), 0u);
    unix_stream late;
    fiber f = spawn([&] { late = unix_stream::connect(d / "s"); });
    auto t = spawn([](std::string name) -> task<> {
      EXPECT_TRUE((co_await unix_stream::async_connect(name)).is_open());
    }(d / "s"));
    settle();
    for (std::size_t i = 0; i < waiting.size() + 2; ++i) EXPECT_TRUE(l.accept().is_open());
    f.join();
    t.join();
    EXPECT_TRUE(late.is_open());
  });
}

TEST_P(unix_test, connecting_to_a_full_queue_is_cancelled) {
  run([] {
    const scratch_directory d;
    auto l = unix_listener::bind(d / "s", {.backlog = 1});
    auto waiting = fill_queue(d / "s");
    std::atomic<int> ends = 0;
    fiber f = spawn([&] {
      try {
        unix_stream::connect(d / "s");
      } catch (const cancelled&) {
        ++ends;
      }
    });
    auto t = spawn([](std::string name, std::atomic<int>& count) -> task<> {
      std::error_code error;
      auto s = co_await unix_stream::async_connect(name, {}, error);
      if (error == std::errc::operation_canceled) ++count;
    }(d / "s", ends));
    settle();
    f.request_stop();
    t.request_stop();
    f.join();
    t.join();
    EXPECT_EQ(ends, 2);
  });
}

TEST_P(unix_test, closing_wakes_those_who_wait) {
  run([] {
    const scratch_directory d;
    auto l = unix_listener::bind(d / "s");
    auto [a, b] = unix_stream::pair();
    const auto is_closed = std::errc::bad_file_descriptor;
    fiber acceptor = spawn([&] { EXPECT_EQ(code_of([&] { l.accept(); }), is_closed); });
    fiber reader = spawn([&, &a = a] { EXPECT_EQ(code_of([&] { text_from(a, 1); }), is_closed); });
    until_the_others_wait();
    l.close();
    a.close();
    acceptor.join();
    reader.join();
  });
}

TEST_P(unix_test, tasks_pass_descriptors) {
  run([] {
    auto [a, b] = unix_stream::pair();
    a_pipe p;
    const auto sends = [](unix_stream& s, int fd) -> task<> {
      co_await s.async_send_descriptor(fd, bytes("1"));
      std::error_code error;
      EXPECT_EQ(co_await s.async_send_descriptor(fd, {}, error), 0u);
      EXPECT_EQ(error, std::errc::invalid_argument);
      EXPECT_EQ(co_await s.async_send_descriptor(fd, bytes("2"), error), 1u);
    };
    const auto receives = [](unix_stream& s, a_pipe& from) -> task<> {
      std::array<std::byte, 1> buffer;
      descriptor d;
      const auto n = co_await s.async_receive_descriptor(buffer, d);
      EXPECT_EQ(n, 1u);
      expect_to_be(d, from);
      std::error_code error;
      const auto again = co_await s.async_receive_descriptor(buffer, d, error);
      EXPECT_EQ(again, 1u);
      expect_to_be(d, from);
    };
    auto receiver = spawn(receives(b, p));
    spawn(sends(a, p.out.native_handle())).join();
    receiver.join();
  });
}

TEST(unix_threads, plain_threads_use_them_too) {
  const scratch_directory d;
  auto l = unix_listener::bind(d / "s");
  std::thread client([&] {
    auto s = unix_stream::connect(d / "s", 10s);
    s.send_descriptor(0, bytes("x"));
    EXPECT_EQ(text_from(s, 2), "ok");
  });
  auto s = l.accept();
  std::array<std::byte, 8> buffer;
  descriptor got;
  EXPECT_EQ(s.receive_descriptor(buffer, got), 1u);
  EXPECT_TRUE(got.is_open());
  s.write_all(bytes("ok"));
  client.join();
}

TEST_P(unix_test, an_adopted_end_of_a_socketpair_loses_no_wakeup) {
  run([] {
    int ends[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    auto a = unix_stream::adopt(ends[0]);
    auto b = tcp_stream::adopt(ends[1]);
    fiber reader = spawn([&] { EXPECT_EQ(read_whole(b, 30), "abcabcabcabcabcabcabcabcabcabc"); });
    settle();
    for (int i = 0; i < 10; ++i) {
      a.write_all(bytes("a"));
      a.send_descriptor(0, bytes("b"));
      a.write_all(bytes("c"));
    }
    reader.join();
    EXPECT_EQ(code_of([] { unix_stream::adopt(-1); }), std::errc::bad_file_descriptor);
  });
}

}  // namespace
}  // namespace thrum::net
