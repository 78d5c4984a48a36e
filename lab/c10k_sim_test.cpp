// The c10k servers made with thrum, in simulation: the models' own sources, thrum::run and all, serve simulated clients
// over a simulated network. What a model says to its parent comes to this file instead, which stands in for child.cpp
// and limits.cpp.
//
// c10k_mutants plants mistakes into the models; then some test here must fail.

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <ostream>
#include <span>
#include <string>
#include <system_error>
#include <thrum/sim_gtest.hpp>
#include <thrum/thrum.hpp>

#include "lab/child.hpp"
#include "lab/limits.hpp"
#include "lab/models/models.hpp"
#include "lab/service.hpp"
#include "sched/scheduler.hpp"

namespace thrum::lab {
namespace {

thrum::promise<int>* announced = nullptr;  // By the server that is being started.

}  // namespace

void say(const json& message) {
  if (message.contains("listening"))
    announced->set_value(message["listening"]);
  else
    ADD_FAILURE() << "the server says " << message.dump();
}

// A simulation has as many as are wanted.
std::optional<std::string> allow_descriptors(std::int64_t) { return std::nullopt; }
std::string explain_descriptors(int error) { return std::generic_category().message(error); }

namespace {

using namespace std::chrono_literals;
using connection = thrum::net::tcp_stream;
using request = std::array<std::byte, message_bytes>;

constexpr std::chrono::milliseconds database = 200ms;  // Beside which latencies and stalls are short.

request request_of(std::uint32_t client, std::uint32_t sequence) {
  request bytes;
  write_request(bytes, client, sequence);
  return bytes;
}

// Fibers and tasks of the whole simulation.
std::size_t alive() { return thrum::sched::current_fiber()->home->live_count(); }

// The model, in a program of its own. To be stopped before the test's program ends.
class server {
 public:
  explicit server(model_function* model) {
    thrum::promise<int> listening;
    announced = &listening;
    process_ = thrum::spawn({.name = "server"}, [model] {
      model({{"port", 0}, {"wait_ms", database.count()}, {"connections", 100}, {"pool_threads", 1}});
    });
    address_ = "127.0.0.1:" + std::to_string(listening.get_future().get());
    idle_ = alive();
  }

  connection connect() const { return connection::connect(address_); }

  // Nothing is left of connections that have gone.
  void expect_idle() const { EXPECT_EQ(alive(), idle_); }

  // As a signal would; at once, whatever its connections wait for.
  void stop() {
    const auto began = thrum::clock::now();
    process_.request_stop();
    process_.join();
    EXPECT_LT(thrum::clock::now() - began, database / 2);
  }

 private:
  thrum::fiber process_;
  std::string address_;
  std::size_t idle_ = 0;
};

void expect_answer(connection& from, std::uint32_t client, std::uint32_t sequence) {
  request bytes;
  from.read_exactly(bytes);
  EXPECT_TRUE(is_answer(bytes, client, sequence)) << "to request " << sequence << " of client " << client;
}

// Asks, in pieces that end after so many bytes and that are sent with pauses in between. The answer is the request's
// own, and it comes when the database has had its time, and not much later, whatever the others do.
void ask(connection& server, std::uint32_t client, std::uint32_t sequence,
         std::initializer_list<std::size_t> pieces = {}) {
  const auto bytes = request_of(client, sequence);
  std::size_t sent = 0;
  for (const std::size_t end : pieces) {
    server.write_all(std::span(bytes).subspan(sent, end - sent));
    thrum::this_fiber::sleep_for(database / 10);
    sent = end;
  }
  const auto asked = thrum::clock::now();
  server.write_all(std::span(bytes).subspan(sent));
  expect_answer(server, client, sequence);
  const auto took = thrum::clock::now() - asked;
  EXPECT_GE(took, database) << "answered too early";
  EXPECT_LT(took, database * 3 / 2) << "answered too late";
}

void send_half(connection& server) {
  const auto bytes = request_of(1, 1);
  server.write_all(std::span(bytes).first(message_bytes / 2));
}

void expect_end(connection& of) {
  std::byte more;
  EXPECT_EQ(of.read_some({&more, 1}), 0u);
}

struct model {
  const char* name;
  model_function* run;
};
void PrintTo(const model& m, std::ostream* out) { *out << m.name; }

class c10k_sim : public testing::TestWithParam<model> {
 protected:
  static void holds(const std::function<void()>& program, std::size_t schedules, sim::options each = {}) {
    each.decisions_max = 200'000;
    // Who wants to know only whether something fails, as of a mutant, does not ask for the shortest failure.
    const bool shrink = !GTEST_FLAG_GET(fail_fast);
    EXPECT_TRUE(sim::holds(program, {.schedules = schedules, .each = each, .shrink = shrink}));
  }
};

INSTANTIATE_TEST_SUITE_P(models, c10k_sim,
                         testing::Values(model{"fiber", c10k_fiber}, model{"fiber_borrow", c10k_fiber_borrow},
                                         model{"task", c10k_task}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_P(c10k_sim, each_request_has_its_own_answer_after_the_wait) {
  holds(
      [] {
        server s(GetParam().run);
        thrum::scope clients;
        for (std::uint32_t id = 0; id < 4; ++id)
          clients.go([&, id] {
            auto c = s.connect();
            ask(c, id, 1);
            ask(c, id, 2, {1, 20, 63});
            thrum::this_fiber::sleep_for(id * database / 4);
            ask(c, id, 3);
          });
        clients.join();
        s.stop();
      },
      300);
}

TEST_P(c10k_sim, a_hundred_clients_wait_at_the_same_time) {
  holds(
      [] {
        server s(GetParam().run);
        thrum::scope clients;
        for (std::uint32_t id = 0; id < 100; ++id)
          clients.go([&, id] {
            auto c = s.connect();
            ask(c, id, 1);
          });
        clients.join();
        s.stop();
      },
      20);
}

TEST_P(c10k_sim, clients_that_leave_are_forgotten_and_the_others_served) {
  holds(
      [] {
        server s(GetParam().run);
        thrum::scope clients;
        clients.go([&] { s.connect(); });
        clients.go([&] {  // Amid a request,
          auto c = s.connect();
          send_half(c);
        });
        clients.go([&] {  // before the answer,
          auto c = s.connect();
          c.write_all(request_of(2, 1));
          thrum::this_fiber::sleep_for(database / 2);
        });
        clients.go([&] {  // with the answer unread, which resets the connection,
          auto c = s.connect();
          c.write_all(request_of(3, 1));
          thrum::this_fiber::sleep_for(database * 3 / 2);
        });
        clients.go([&] {  // after having said that nothing will follow.
          auto c = s.connect();
          c.write_all(request_of(4, 1));
          c.shutdown_write();
          expect_answer(c, 4, 1);
          expect_end(c);
        });
        clients.go([&] {
          auto c = s.connect();
          for (std::uint32_t i = 1; i <= 3; ++i) ask(c, 5, i);
        });
        clients.join();
        thrum::this_fiber::sleep_for(3 * database);
        s.expect_idle();
        s.stop();
      },
      300);
}

TEST_P(c10k_sim, it_outlives_connections_that_break) {
  holds(
      [] {
        server s(GetParam().run);
        thrum::scope clients;
        for (std::uint32_t id = 0; id < 6; ++id)
          clients.go([&, id] {
            try {
              auto c = s.connect();
              for (std::uint32_t i = 1; i <= 3; ++i) ask(c, id, i, {10});
            } catch (const std::system_error&) {
              // A broken connection is no wrong answer.
            }
          });
        clients.join();
        thrum::this_fiber::sleep_for(3 * database);
        s.expect_idle();
        s.stop();
      },
      200, {.one_in_resets = 10});
}

TEST_P(c10k_sim, stopping_it_closes_every_connection_whatever_it_waits_for) {
  holds(
      [] {
        server s(GetParam().run);
        auto silent = s.connect(), halfway = s.connect(), waiting = s.connect();
        send_half(halfway);
        waiting.write_all(request_of(2, 1));
        thrum::this_fiber::sleep_for(database / 2);
        s.stop();
        for (auto* c : {&silent, &halfway, &waiting}) expect_end(*c);
        EXPECT_EQ(alive(), 1u);
      },
      100);
}

}  // namespace
}  // namespace thrum::lab
