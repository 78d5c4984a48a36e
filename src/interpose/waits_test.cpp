// One descriptor and several who have to do with it; cancellation; threads; the ends of descriptors and runtimes.
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "interpose/cases.hpp"
#include "support.hpp"

namespace {

using namespace thrum;
using namespace thrum::test;
using interpose_cases::ends;

class interposed_wait : public on_workers {
 protected:
  interposed_wait() { std::signal(SIGPIPE, SIG_IGN); }
};
INSTANTIATE_TEST_SUITE_P(workers, interposed_wait, worker_counts, count_name);

struct result {
  ssize_t value = -2;
  int error = 0;
};
template <class Call>
fiber spawn_call(result& r, Call call) {
  return spawn([&r, call] {
    r.value = call();
    r.error = errno;
  });
}

TEST_P(interposed_wait, of_two_for_one_descriptor_ends_for_one_after_the_other) {
  run([&] {
    const auto e = ends::sockets();
    std::atomic<int> sum{0};
    std::vector<fiber> readers;
    for (int i = 0; i < 4; ++i)
      readers.push_back(spawn([&] {
        for (int n = 0; n < 10; ++n) {
          char byte = 0;
          EXPECT_EQ(::recv(e.a, &byte, 1, 0), 1);
          sum += byte;
        }
      }));
    for (int i = 1; i <= 40; ++i) {
      const char byte = static_cast<char>(i);
      EXPECT_EQ(::send(e.b, &byte, 1, 0), 1);
      if (i % 7 == 0) settle();
    }
    for (auto& f : readers) f.join();
    EXPECT_EQ(sum, 40 * 41 / 2);
  });
}

TEST_P(interposed_wait, of_a_reader_and_a_writer_are_apart) {
  run([&] {
    const auto e = ends::sockets();
    const std::string much(2'000'000, 'x');
    const auto read_all = [&](int fd) {
      std::string buffer(50'000, 0);
      std::size_t sum = 0;
      while (sum < much.size()) {
        const auto n = ::read(fd, buffer.data(), buffer.size());
        EXPECT_GT(n, 0);
        if (n <= 0) break;
        sum += static_cast<std::size_t>(n);
      }
      EXPECT_EQ(sum, much.size());
    };
    const auto write_all = [&](int fd) {
      EXPECT_EQ(::write(fd, much.data(), much.size()), static_cast<ssize_t>(much.size()));
    };
    scope s;
    s.go([&] { write_all(e.a); });
    s.go([&] { write_all(e.b); });
    s.go([&] { read_all(e.a); });
    s.go([&] { read_all(e.b); });
    s.join();
  });
}

TEST_P(interposed_wait, ends_when_another_closes) {
  run([&] {
    for (int i = 0; i < 10; ++i) {
      auto e = ends::sockets();
      char byte;
      result got;
      pollfd one{.fd = e.a, .events = POLLIN, .revents = 0};
      result polled;
      auto reader = spawn_call(got, [&] { return ::recv(e.a, &byte, 1, 0); });
      auto poller = spawn_call(polled, [&] { return ::poll(&one, 1, -1); });
      until_the_others_wait();
      EXPECT_EQ(::close(e.a), 0);
      reader.join();
      poller.join();
      e.a = -1;
      EXPECT_EQ(got.value, -1);
      EXPECT_EQ(got.error, EBADF);
      EXPECT_EQ(polled.value, 1);
      EXPECT_EQ(one.revents, POLLNVAL);
    }
  });
}

TEST_P(interposed_wait, ends_when_the_number_comes_to_stand_for_something_else) {
  run([&] {
    const auto e = ends::sockets();
    const auto other = ends::sockets();
    char byte = 0;
    result got;
    auto reader = spawn_call(got, [&] { return ::recv(e.a, &byte, 1, 0); });
    until_the_others_wait();
    EXPECT_EQ(::send(other.b, "y", 1, 0), 1);
    EXPECT_EQ(::dup2(-1, e.a), -1);  // Changes nothing.
    settle();
    EXPECT_EQ(::dup2(other.a, e.a), e.a);
    reader.join();
    EXPECT_EQ(got.value, -1);
    EXPECT_EQ(got.error, EBADF);
    EXPECT_EQ(::recv(e.a, &byte, 1, 0), 1);
    EXPECT_EQ(byte, 'y');
  });
}

// Numbers pass from one use to the next while others wait, as in a server.
TEST_P(interposed_wait, survives_numbers_that_are_used_again_all_the_time) {
  run([&] {
    scope s;
    for (int i = 0; i < 8; ++i)
      s.go([] {
        for (int n = 0; n < 40; ++n) {
          auto e = n % 2 == 0 ? ends::sockets() : ends::pipe();
          auto echo = spawn([&] {
            char byte = 0;
            EXPECT_EQ(::read(e.a, &byte, 1), 1);
            EXPECT_EQ(byte, 'q');
            EXPECT_EQ(::read(e.a, &byte, 1), 0);
          });
          this_fiber::yield();
          EXPECT_EQ(::write(e.b, "q", 1), 1);
          this_fiber::yield();
          e.close_b();
          echo.join();
        }
      });
    s.join();
  });
}

TEST_P(interposed_wait, is_cancelled) {
  run([&] {
    const auto e = ends::sockets();
    const auto p = ends::pipe();
    char byte, another;
    result all[6];
    pollfd two[] = {{.fd = e.a, .events = POLLIN, .revents = 0}, {.fd = p.a, .events = POLLIN, .revents = 0}};
    pollfd alone = two[0];
    timespec left{};
    const timespec long_time{.tv_sec = 1000, .tv_nsec = 0};
    std::vector<fiber> fibers;
    fibers.push_back(spawn_call(all[0], [&] { return ::recv(e.a, &byte, 1, 0); }));
    fibers.push_back(spawn_call(all[1], [&] { return ::read(p.a, &another, 1); }));
    fibers.push_back(spawn_call(all[2], [&] { return ::poll(two, 2, -1); }));
    fibers.push_back(spawn_call(all[3], [&] { return ::poll(&alone, 1, 1'000'000); }));
    fibers.push_back(spawn_call(all[4], [&] { return ::nanosleep(&long_time, &left); }));
    fibers.push_back(spawn_call(all[5], [&] { return ::select(0, nullptr, nullptr, nullptr, nullptr); }));
    until_the_others_wait();
    for (auto& f : fibers) f.request_stop();
    for (auto& f : fibers) f.join();
    for (const auto& one : all) {
      EXPECT_EQ(one.value, -1);
      EXPECT_EQ(one.error, ECANCELED);
    }
    EXPECT_GT(left.tv_sec, 500);
  });
}

TEST_P(interposed_wait, is_not_cancelled_where_there_is_no_need_to_wait) {
  run([&] {
    const auto e = ends::sockets();
    auto f = spawn([&] {
      while (!this_fiber::stop_requested()) std::this_thread::yield();
      char byte = 0;
      EXPECT_EQ(::send(e.b, "x", 1, 0), 1);
      EXPECT_EQ(::recv(e.a, &byte, 1, 0), 1);
      pollfd one{.fd = e.b, .events = POLLOUT, .revents = 0};
      EXPECT_EQ(::poll(&one, 1, -1), 1);
      EXPECT_EQ(::recv(e.a, &byte, 1, 0), -1);
      EXPECT_EQ(errno, ECANCELED);
      EXPECT_EQ(::fsync(e.a), -1);
      EXPECT_EQ(errno, ECANCELED);
    });
    f.request_stop();
    f.join();
  });
}

TEST_P(interposed_wait, is_not_there_for_addresses_in_figures) {
  run([&] {
    auto f = spawn([&] {
      while (!this_fiber::stop_requested()) std::this_thread::yield();
      addrinfo* found = nullptr;
      for (const char* host : {"127.0.0.1", "::1"}) {
        EXPECT_EQ(::getaddrinfo(host, "80", nullptr, &found), 0);
        char text[64], port[16];
        EXPECT_EQ(::getnameinfo(found->ai_addr, found->ai_addrlen, text, sizeof text, port, sizeof port,
                                NI_NUMERICHOST | NI_NUMERICSERV),
                  0);
        EXPECT_STREQ(text, host);
        EXPECT_EQ(::getnameinfo(found->ai_addr, found->ai_addrlen, text, sizeof text, port, sizeof port, 0),
                  EAI_SYSTEM);
        ::freeaddrinfo(found);
      }
      EXPECT_TRUE(::gethostbyname("127.0.0.1"));
      EXPECT_EQ(::getaddrinfo("localhost", "80", nullptr, &found), EAI_SYSTEM);
      EXPECT_EQ(errno, ECANCELED);
      EXPECT_FALSE(::gethostbyname("localhost"));
    });
    f.request_stop();
    f.join();
  });
}

TEST_P(interposed_wait, goes_on_on_the_same_thread) {
  run([&] {
    scope s;
    for (int i = 0; i < 20; ++i)
      s.go([i] {
        const auto e = ends::sockets();
        auto peer = spawn([&] {
          char byte;
          while (::recv(e.b, &byte, 1, 0) == 1) EXPECT_EQ(::send(e.b, &byte, 1, 0), 1);
        });
        for (int n = 0; n < 20; ++n) {
          this_fiber::yield();  // Here it may move, and within one of the calls it must not.
          const auto thread = ::gettid();
          int* const error = &errno;
          char byte = 'a';
          EXPECT_EQ(::send(e.a, &byte, 1, 0), 1);
          if (i % 2 == 0) {
            pollfd one{.fd = e.a, .events = POLLIN, .revents = 0};
            EXPECT_EQ(::poll(&one, 1, -1), 1);
          }
          EXPECT_EQ(::recv(e.a, &byte, 1, 0), 1);
          ::usleep(10);
          EXPECT_EQ(::gettid(), thread);
          *error = 0;
          EXPECT_EQ(::close(-1), -1);
          EXPECT_EQ(*error, EBADF);
        }
        EXPECT_EQ(::shutdown(e.a, SHUT_WR), 0);
        peer.join();
      });
    s.join();
  });
}

// A forked child closes what it has inherited, and the parent's waits are none of its business.
TEST_P(interposed_wait, is_not_disturbed_by_forked_children) {
  run([&] {
    const auto e = ends::sockets();
    result got;
    char byte = 0;
    auto reader = spawn_call(got, [&] { return ::recv(e.a, &byte, 1, 0); });
    until_the_others_wait();
    const pid_t child = ::fork();
    if (child == 0) {
      char nothing;
      const bool fine = ::close(e.a) == 0 && ::recv(e.b, &nothing, 1, MSG_DONTWAIT) == -1 && ::usleep(1) == 0;
      ::_exit(fine ? 0 : 1);
    }
    int status = -1;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    EXPECT_EQ(::send(e.b, "x", 1, 0), 1);
    reader.join();
    EXPECT_EQ(got.value, 1);
  });
}

// The runtime's own sockets, which do not block, see their EAGAIN.
TEST_P(interposed_wait, leaves_the_runtimes_sockets_alone) {
  run([&] {
    auto listener = net::tcp_listener::bind("127.0.0.1:0");
    auto echo = spawn([&] {
      auto stream = listener.accept();
      std::array<std::byte, 64> data;
      while (auto n = stream.read_some(data)) stream.write_all(std::span(data).first(n));
    });
    auto stream = net::tcp_stream::connect("127.0.0.1:" + std::to_string(listener.local_port()));
    for (int i = 0; i < 20; ++i) {
      const std::array<std::byte, 3> sent{std::byte{1}, std::byte{2}, static_cast<std::byte>(i)};
      stream.write_all(sent);
      std::array<std::byte, 3> back{};
      stream.read_exactly(back);
      EXPECT_EQ(back, sent);
    }
    stream.shutdown_write();
    echo.join();
  });
}

// What has been waited for in one runtime is waited for in the next; when it is closed, nothing is left.
TEST(interposed, a_descriptor_outlives_runtimes) {
  const auto before = open_descriptors();
  {
    const auto e = ends::sockets();
    for (const unsigned workers : {1u, 2u, 1u}) {
      runtime rt({.workers = workers});
      rt.run([&] {
        const interpose_cases::later writer([&] { EXPECT_EQ(::send(e.b, "x", 1, 0), 1); });
        char byte;
        EXPECT_EQ(::recv(e.a, &byte, 1, 0), 1);
      });
    }
  }
  expect_no_more_descriptors_than(before);
}

// The fiber is parked, so the holder goes on at once on the same worker.
TEST_P(interposed_wait, for_the_lock_of_a_file_holds_no_worker) {
  run([&] {
    char name[] = "/tmp/thrum_locked_XXXXXX";
    const int first = ::mkstemp(name), second = ::open(name, O_RDWR);
    ASSERT_EQ(::flock(first, LOCK_EX), 0);
    result locked;
    auto waits = spawn_call(locked, [&] { return ::flock(second, LOCK_EX); });
    until_the_others_wait();
    EXPECT_EQ(::flock(first, LOCK_UN), 0);
    waits.join();
    EXPECT_EQ(locked.value, 0);
    const auto fifo = std::string(name) + ".fifo";
    ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
    result opened;
    auto reader = spawn_call(opened, [&] { return ::open(fifo.c_str(), O_RDONLY); });
    until_the_others_wait();
    const int writer = ::open(fifo.c_str(), O_WRONLY);
    EXPECT_GE(writer, 0);
    reader.join();
    EXPECT_GE(opened.value, 0);
    for (const int fd : {first, second, writer, static_cast<int>(opened.value)}) ::close(fd);
    ::unlink(name);
    ::unlink(fifo.c_str());
  });
}

TEST_P(interposed_wait, for_any_child_holds_no_worker) {
  run([&] {
    int status = 0;
    rusage usage{};
    const std::function<pid_t()> ways[] = {[&] { return ::wait(&status); }, [&] { return ::wait3(&status, 0, &usage); },
                                           [&] { return ::waitpid(-1, &status, 0); }};
    for (const auto& wait_for_any : ways) {
      auto p = ends::pipe();
      const pid_t child = ::fork();
      if (child == 0) {
        char byte;
        p.close_b();
        (void)!::read(p.a, &byte, 1);
        ::_exit(7);
      }
      result waited;
      auto waits = spawn_call(waited, wait_for_any);
      until_the_others_wait();
      p.close_b();  // Which ends the child.
      waits.join();
      EXPECT_EQ(waited.value, child);
      EXPECT_EQ(status, 7 << 8);
    }
  });
}

// Each has a thread that waits: neither the holder nor what it needs from the offload pool is behind those who wait.
TEST_P(interposed_wait, for_locks_of_files_is_not_stopped_by_others_who_wait) {
  with_runtime({.workers = static_cast<unsigned>(GetParam())}, [&](runtime&) {
    char name[] = "/tmp/thrum_locked_XXXXXX";
    const int file = ::mkstemp(name);
    ASSERT_EQ(::flock(file, LOCK_EX), 0);
    std::atomic<int> got{0};
    std::vector<fiber> all;
    for (int i = 0; i < 80; ++i)
      all.push_back(spawn([&] {
        const int own = ::open(name, O_RDWR);
        EXPECT_EQ(::flock(own, LOCK_EX), 0);
        ++got;
        EXPECT_EQ(::fsync(own), 0);  // Elsewhere, too, while all others wait.
        ::close(own);
      }));
    this_fiber::sleep_for(20ms);
    EXPECT_EQ(got, 0);
    EXPECT_EQ(::fsync(file), 0);
    EXPECT_EQ(::flock(file, LOCK_UN), 0);
    for (auto& f : all) f.join();
    EXPECT_EQ(got, 80);
    ::close(file);
    ::unlink(name);
  });
}

}  // namespace
