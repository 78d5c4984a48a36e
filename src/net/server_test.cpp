// Servers: each connection has its handler, failures stay with it, and a shutdown drains, cancels and reports.
#include <thrum/net/server.hpp>

#include <array>
#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <thrum/net/memory_stream.hpp>

#include "tcp_support.hpp"

namespace thrum {
namespace {

using namespace test;
using net::memory_stream, net::server, net::server_report;

class server_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, server_test, worker_counts, count_name);

tcp_listener listen_here() { return tcp_listener::bind("127.0.0.1:0"); }

void echo(tcp_stream c) {
  std::array<std::byte, 64> buffer;
  while (const auto n = c.read_some(buffer)) c.write_all(std::span(buffer).first(n));
}
task<> async_echo(tcp_stream c) {
  std::array<std::byte, 64> buffer;
  for (std::size_t n = 1; n > 0;) {
    n = co_await c.async_read_some(buffer);
    co_await c.async_write_all(std::span(buffer).first(n));
  }
}

void ask(const std::string& address) {
  auto c = tcp_stream::connect(address);
  c.write_all(bytes("hello"));
  EXPECT_EQ(read_whole(c, 5), "hello");
}

template <class Server>
void ask_by_many(Server& s, std::uint64_t clients) {
  scope all;
  for (std::uint64_t i = 0; i < clients; ++i) all.go([&] { ask(here(s.listener())); });
  all.join();
  EXPECT_TRUE(eventually([&] { return s.report().served == clients; }));
}

TEST_P(server_test, it_serves_everybody_and_ends_when_it_is_shut_down) {
  run([] {
    server s(listen_here(), echo);
    auto serving = spawn([&] { EXPECT_EQ(s.serve().served, 20u); });
    ask_by_many(s, 20);
    const auto r = s.shutdown(hang_guard);
    serving.join();
    EXPECT_EQ(r.served, 20u);
    EXPECT_EQ(r.drained + r.cancelled + r.failed, 0u);
    EXPECT_FALSE(s.listener().is_open());
  });
}

TEST_P(server_test, a_task_serves_the_same) {
  run([] {
    server s(listen_here(), async_echo);
    auto serving = spawn(s.async_serve());
    ask_by_many(s, 20);
    const auto r = spawn(s.async_shutdown(hang_guard)).join();
    EXPECT_EQ(serving.join().served, 20u);
    EXPECT_EQ(r.served, 20u);
  });
}

TEST_P(server_test, fibers_and_tasks_mix) {
  run([] {
    server by_fibers(listen_here(), echo);
    server by_tasks(listen_here(), async_echo);
    auto one = spawn(by_fibers.async_serve());
    auto other = spawn([&] { by_tasks.serve(); });
    ask_by_many(by_fibers, 5);
    ask_by_many(by_tasks, 5);
    by_fibers.stop();
    by_tasks.stop();
    EXPECT_EQ(one.join().served, 5u);
    other.join();
  });
}

// A server with connections that wait until they are released or cancelled.
struct held {
  event release;
  std::atomic<int> inside = 0;
  std::vector<tcp_stream> clients;

  auto handler() {
    return [this](tcp_stream) {
      ++inside;
      release.wait();
    };
  }
  auto task_handler() {
    return [this](tcp_stream) -> task<> {
      ++inside;
      co_await release.async_wait();
    };
  }
  template <class Server>
  void connect(Server& s, int count) {
    for (int i = 0; i < count; ++i) clients.push_back(tcp_stream::connect(here(s.listener())));
    EXPECT_TRUE(eventually([&] { return inside == count; }));
  }
};

TEST_P(server_test, connections_may_finish_until_the_deadline) {
  run([] {
    held h;
    server s(listen_here(), h.handler());
    auto serving = spawn([&] { s.serve(); });
    h.connect(s, 3);
    s.stop();
    auto stopping = spawn([&] {
      const auto r = s.shutdown(hang_guard);
      EXPECT_EQ(r.drained, 3u);
      EXPECT_EQ(r.served + r.cancelled + r.failed, 0u);
    });
    settle();
    h.release.set();
    stopping.join();
    serving.join();
  });
}

template <class Server, class Serving>
void check_deadline(held& h, Server& s, Serving serving) {
  h.connect(s, 3);
  const auto r = s.shutdown(0ns);
  EXPECT_EQ(r.cancelled, 3u);
  EXPECT_EQ(r.served + r.drained + r.failed, 0u);
  serving.join();
}

TEST_P(server_test, what_is_left_at_the_deadline_is_cancelled) {
  run([] {
    held h, i;
    server s(listen_here(), h.handler());
    server t(listen_here(), i.task_handler());
    check_deadline(h, s, spawn([&] { s.serve(); }));
    check_deadline(i, t, spawn(t.async_serve()));
  });
}

TEST_P(server_test, a_failing_handler_ends_its_own_connection_only) {
  run([] {
    std::atomic<int> told = 0;
    const auto fails = [](tcp_stream c) {
      if (read_text(c, 1) == "x") throw std::runtime_error("x");
      c.write_all(bytes("fine"));
    };
    server s(listen_here(), fails, {.on_failure = [&](std::exception_ptr) { ++told; }});
    auto serving = spawn([&] { s.serve(); });
    auto bad = tcp_stream::connect(here(s.listener()));
    auto good = tcp_stream::connect(here(s.listener()));
    bad.write_all(bytes("x"));
    EXPECT_TRUE(eventually([&] { return s.report().failed == 1; }));
    good.write_all(bytes("y"));
    EXPECT_EQ(read_whole(good, 4), "fine");
    const auto r = s.shutdown(hang_guard);
    serving.join();
    EXPECT_EQ(told, 1);
    EXPECT_EQ(r.served + r.drained, 1u);
    EXPECT_THROW(std::rethrow_exception(r.first_failure), std::runtime_error);
  });
}

TEST_P(server_test, it_serves_no_more_connections_than_it_may) {
  run([] {
    std::atomic<int> now = 0, most = 0;
    const auto counts = [&](tcp_stream c) {
      const int n = ++now;
      for (int seen = most; seen < n && !most.compare_exchange_weak(seen, n);) {
      }
      this_fiber::yield();
      read_text(c);
      --now;
    };
    server s(listen_here(), counts, {.max_connections = 2});
    auto serving = spawn([&] { s.serve(); });
    scope clients;
    for (int i = 0; i < 10; ++i) {
      clients.go([&] {
        auto c = tcp_stream::connect(here(s.listener()));
        c.shutdown_write();
        EXPECT_EQ(read_text(c), "");
      });
    }
    clients.join();
    EXPECT_EQ(s.shutdown(hang_guard).cancelled, 0u);
    serving.join();
    EXPECT_LE(most, 2);
  });
}

TEST_P(server_test, cancelling_serve_cancels_all_connections) {
  run([] {
    held h, i;
    server s(listen_here(), h.handler());
    server t(listen_here(), i.task_handler());
    auto serving = spawn([&] { EXPECT_THROW(s.serve(), cancelled); });
    auto as_task = spawn(t.async_serve());
    h.connect(s, 2);
    i.connect(t, 2);
    serving.request_stop();
    as_task.request_stop();
    serving.join();
    EXPECT_THROW(as_task.join(), broken_promise);
    EXPECT_EQ(s.report().cancelled, 2u);
    EXPECT_EQ(t.report().cancelled, 2u);
    EXPECT_EQ(s.shutdown(hang_guard).cancelled, 2u) << "it has ended";
  });
}

TEST_P(server_test, cancelling_a_shutdown_cancels_the_connections) {
  run([] {
    held h, i;
    server s(listen_here(), h.handler()), t(listen_here(), i.handler());
    auto serving = spawn([&] { s.serve(); });
    auto other = spawn([&] { t.serve(); });
    h.connect(s, 2);
    i.connect(t, 2);
    auto stopping = spawn([&] { EXPECT_THROW(s.shutdown(hang_guard), cancelled); });
    auto as_task = spawn(t.async_shutdown(hang_guard));
    settle();
    stopping.request_stop();
    as_task.request_stop();
    stopping.join();
    EXPECT_THROW(as_task.join(), broken_promise);
    serving.join();
    other.join();
    EXPECT_EQ(s.report().cancelled, 2u);
    EXPECT_EQ(t.report().cancelled, 2u);
  });
}

TEST_P(server_test, a_handler_may_stop_the_server) {
  run([] {
    server<tcp_listener, std::function<void(tcp_stream)>>* self = nullptr;
    server s(listen_here(), std::function<void(tcp_stream)>([&](tcp_stream) { self->stop(); }));
    self = &s;
    auto c = tcp_stream::connect(here(s.listener()));
    const auto r = s.serve();
    EXPECT_EQ(r.served + r.drained, 1u);
  });
}

TEST_P(server_test, it_serves_once_and_not_after_it_was_stopped) {
  run([] {
    server s(listen_here(), echo);
    EXPECT_EQ(s.shutdown(hang_guard).served, 0u);
    EXPECT_EQ(s.serve().served, 0u);
    EXPECT_FALSE(s.listener().is_open());
    EXPECT_THROW(s.serve(), std::logic_error);
  });
}

// Gives pipes, and fails as it was told to, before or after.
struct scripted_listener {
  std::deque<memory_stream> connections;
  std::deque<std::errc> failures;
  bool fails_first = true;
  std::unique_ptr<event> never = std::make_unique<event>();

  memory_stream accept() { return {}; }
  memory_stream accept(std::error_code& error) {
    error.clear();
    if (waits()) never->wait();
    if (!failures.empty() && (fails_first || connections.empty())) {
      error = std::make_error_code(failures.front());
      failures.pop_front();
      return {};
    }
    auto first = std::move(connections.front());
    connections.pop_front();
    return first;
  }
  task<memory_stream> async_accept(std::error_code& error) {
    if (waits()) co_await never->async_wait();
    co_return accept(error);
  }
  bool waits() const { return failures.empty() && connections.empty(); }
  void close() {}
};

TEST_P(server_test, it_goes_on_after_the_machine_had_no_room) {
  run([] {
    for (const bool by_task : {false, true}) {
      std::atomic<int> told = 0;
      scripted_listener l;
      l.failures = {std::errc::too_many_files_open, std::errc::no_buffer_space};
      auto ends = net::memory_stream::pair();
      l.connections.push_back(std::move(ends.second));
      server s(std::move(l), [](memory_stream p) { p.write_all(bytes("hello")); },
               {.max_connections = 1, .on_failure = [&](std::exception_ptr) { ++told; }});
      auto serving = spawn([&] { by_task ? (void)spawn(s.async_serve()).join() : (void)s.serve(); });
      std::array<std::byte, 5> buffer;
      ends.first.read_exactly(buffer);
      s.shutdown(hang_guard);
      serving.join();
      EXPECT_EQ(told, 2);
    }
  });
}

TEST_P(server_test, it_ends_with_its_connections_when_accepting_fails_for_good) {
  run([] {
    for (const bool by_task : {false, true}) {
      scripted_listener l;
      auto ends = net::memory_stream::pair();
      l.connections.push_back(std::move(ends.second));
      l.failures = {std::errc::invalid_argument};
      l.fails_first = false;
      server s(std::move(l), [](memory_stream p) { p.write_all(std::vector<std::byte>(1 << 20)); });
      EXPECT_EQ(code_of([&] { by_task ? (void)spawn(s.async_serve()).join() : (void)s.serve(); }),
                std::errc::invalid_argument);
      EXPECT_EQ(s.shutdown(hang_guard).cancelled, 1u);
    }
  });
}

}  // namespace
}  // namespace thrum
