// What connect.hpp promises: turns of the families, head starts, the first success, and nothing left of the others.
// When something is tried is seen in simulations, by virtual time; with the kernel's sockets only what becomes of it.
#include <thrum/net/connect.hpp>

#include <atomic>
#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "hosts_support.hpp"
#include "net/connection_race.hpp"
#include "support.hpp"
#include "tcp_support.hpp"

namespace thrum::net {
namespace {

using namespace test;

std::vector<endpoint> endpoints(std::initializer_list<const char*> texts) {
  std::vector<endpoint> all;
  for (const char* text : texts) all.emplace_back(text);
  return all;
}

// Who is tried, in this order, when nobody answers.
std::string order_of(const std::vector<endpoint>& to) {
  connection_race race({.attempt_delay = 0s}, connection_race::none);
  race.add(to);
  std::string order;
  while (const auto next = race.next_to_try()) order += next->to_string() + " ";
  return order;
}

TEST(connection_race, the_families_take_turns) {
  EXPECT_EQ(order_of(endpoints({"[::1]:1", "[::1]:2", "[::1]:3", "1.1.1.1:1", "1.1.1.1:2"})),
            "[::1]:1 1.1.1.1:1 [::1]:2 1.1.1.1:2 [::1]:3 ");
  EXPECT_EQ(order_of(endpoints({"1.1.1.1:1", "1.1.1.1:2", "[::1]:1"})), "1.1.1.1:1 [::1]:1 1.1.1.1:2 ");
  EXPECT_EQ(order_of({}), "");
}

using race_answer = connection_race::answer;
constexpr auto v6_and_v4 = connection_race::for_v6 | connection_race::for_v4;

TEST(connection_race, ipv4_waits_a_little_for_ipv6) {
  connection_race race({.resolution_delay = 1h}, v6_and_v4);
  race.tell(race_answer{connection_race::for_v4, endpoints({"1.1.1.1:1"}), {}});
  race.take_reports();
  EXPECT_FALSE(race.next_to_try());
  EXPECT_TRUE(race.goes_on());
  EXPECT_GT(race.wakes_at(), clock::now() + 30min);
  race.tell(race_answer{connection_race::for_v6, endpoints({"[::1]:1"}), {}});
  race.take_reports();
  EXPECT_EQ(race.next_to_try(), endpoint("[::1]:1"));
}

TEST(connection_race, ipv4_does_not_wait_when_there_is_no_ipv6) {
  connection_race race({.resolution_delay = 1h}, v6_and_v4);
  race.tell(race_answer{connection_race::for_v4, endpoints({"1.1.1.1:1"}), {}});
  race.tell(race_answer{connection_race::for_v6, {}, std::make_error_code(std::errc::timed_out)});
  race.take_reports();
  EXPECT_EQ(race.next_to_try(), endpoint("1.1.1.1:1"));
}

TEST(connection_race, ipv4_goes_ahead_when_its_wait_is_over) {
  connection_race race({.resolution_delay = 0s}, v6_and_v4);
  race.tell(race_answer{connection_race::for_v4, endpoints({"1.1.1.1:1"}), {}});
  race.take_reports();
  EXPECT_EQ(race.next_to_try(), endpoint("1.1.1.1:1"));
}

TEST(connection_race, ipv6_does_not_wait_for_ipv4) {
  connection_race race({.attempt_delay = 0s, .resolution_delay = 1h}, v6_and_v4);
  race.tell(race_answer{connection_race::for_v6, endpoints({"[::1]:1"}), {}});
  race.take_reports();
  EXPECT_EQ(race.next_to_try(), endpoint("[::1]:1"));
  EXPECT_FALSE(race.next_to_try());
  race.tell(race_answer{connection_race::for_v4, endpoints({"1.1.1.1:1"}), {}});
  race.take_reports();
  EXPECT_EQ(race.next_to_try(), endpoint("1.1.1.1:1"));
}

TEST(connection_race, what_is_found_nowhere_fails_with_the_reason) {
  connection_race race({}, v6_and_v4);
  race.tell(race_answer{connection_race::for_v4, {}, std::make_error_code(std::errc::host_unreachable)});
  race.take_reports();
  EXPECT_TRUE(race.goes_on());
  race.tell(race_answer{connection_race::for_v6, {}, std::make_error_code(std::errc::host_unreachable)});
  race.take_reports();
  EXPECT_FALSE(race.goes_on());
  std::error_code error;
  EXPECT_FALSE(race.finish(error).is_open());
  EXPECT_EQ(error, std::errc::host_unreachable);
}

// ---------------------------------------------------------------------------------------------------------------
// With links that fail. `here` connects.

constexpr std::string_view here_v4 = "10.0.0.1";

struct result {
  std::string peer;  // Empty: nobody.
  std::error_code error;
  std::chrono::nanoseconds took{};
};

template <class Connect>
result measured(Connect connect_to) {
  result r;
  const auto start = clock::now();
  const auto stream = connect_to(r.error);
  r.took = clock::now() - start;
  if (stream.is_open()) r.peer = stream.remote_address();
  return r;
}

result from_fiber(const std::vector<endpoint>& to, const connect_options& o) {
  return sim::on_host(here_v4, [&] { return measured([&](std::error_code& e) { return connect(to, o, e); }); });
}

task<> store_connection(std::vector<endpoint> to, connect_options o, tcp_stream& stream, std::error_code& error) {
  stream = co_await async_connect(std::move(to), o, error);
}

result from_task(const std::vector<endpoint>& to, const connect_options& o) {
  return sim::on_host(here_v4, [&] {
    return measured([&](std::error_code& e) {
      tcp_stream stream;
      spawn(store_connection(to, o, stream, e)).join();
      return stream;
    });
  });
}

using way = result (*)(const std::vector<endpoint>& to, const connect_options& o);

void in_schedules(void (*program)(way)) {
  for (const way how : {from_fiber, from_task})
    for (sim::options o; o.seed <= 10; ++o.seed) sim::run(o, [&] { program(how); });
}

// What `here` sends there is lost.
void cut(std::string_view host) { sim::set_link(here_v4, host, {.cut = true}); }

TEST(connect_in_simulation, an_address_that_swallows_packets_costs_one_head_start) {
  in_schedules([](way connect_by) {
    const auto first = listening_on("10.0.0.2", "10.0.0.2:80"), second = listening_on("10.0.0.3", "10.0.0.3:80");
    cut("10.0.0.2");
    const auto r = connect_by(endpoints({"10.0.0.2:80", "10.0.0.3:80"}), {});
    EXPECT_EQ(r.peer, "10.0.0.3:80");
    EXPECT_GE(r.took, 250ms);
    EXPECT_LT(r.took, 300ms);
  });
}

TEST(connect_in_simulation, the_head_start_can_be_set) {
  in_schedules([](way connect_by) {
    const auto first = listening_on("10.0.0.2", "10.0.0.2:80"), second = listening_on("10.0.0.3", "10.0.0.3:80");
    cut("10.0.0.2");
    const auto r = connect_by(endpoints({"10.0.0.2:80", "10.0.0.3:80"}), {.attempt_delay = 2s});
    EXPECT_EQ(r.peer, "10.0.0.3:80");
    EXPECT_GE(r.took, 2s);
    EXPECT_LT(r.took, 2050ms);
    EXPECT_LT(connect_by(endpoints({"10.0.0.2:80", "10.0.0.3:80"}), {.attempt_delay = 0s}).took, 50ms);
  });
}

TEST(connect_in_simulation, a_failure_lets_the_next_begin_at_once) {
  in_schedules([](way connect_by) {
    const auto l = listening_on("10.0.0.3", "10.0.0.3:80");
    sim::on_host("10.0.0.2", [] {});  // Is there, and refuses.
    const auto r = connect_by(endpoints({"10.0.0.2:80", "10.0.0.2:81", "10.0.0.3:80"}), {.attempt_delay = 10s});
    EXPECT_EQ(r.peer, "10.0.0.3:80");
    EXPECT_LT(r.took, 1s);
  });
}

TEST(connect_in_simulation, a_slow_first_one_may_still_win) {
  in_schedules([](way connect_by) {
    const auto first = listening_on("10.0.0.2", "10.0.0.2:80"), second = listening_on("10.0.0.3", "10.0.0.3:80");
    sim::set_link(here_v4, "10.0.0.2", {.latency = 350ms});
    sim::set_link(here_v4, "10.0.0.3", {.latency = 350ms});
    const auto r = connect_by(endpoints({"10.0.0.2:80", "10.0.0.3:80"}), {});
    EXPECT_EQ(r.peer, "10.0.0.2:80");
    EXPECT_LT(r.took, 400ms);
  });
}

TEST(connect_in_simulation, the_time_limit_is_for_all_attempts_together) {
  in_schedules([](way connect_by) {
    for (const auto* host : {"10.0.0.2", "10.0.0.3", "10.0.0.4"}) cut(host);
    const auto r = connect_by(endpoints({"10.0.0.2:80", "10.0.0.3:80", "10.0.0.4:80"}), {.timeout = 600ms});
    EXPECT_EQ(r.error, std::errc::timed_out);
    EXPECT_GE(r.took, 600ms);
    EXPECT_LT(r.took, 650ms);
  });
}

TEST(connect_in_simulation, what_loses_is_closed) {
  in_schedules([](way connect_by) {
    auto first = listening_on("10.0.0.2", "10.0.0.2:80"), second = listening_on("10.0.0.3", "10.0.0.3:80");
    // Both get there; the first one's answer comes too late.
    sim::set_link("10.0.0.2", here_v4, {.latency = 2s});
    EXPECT_EQ(connect_by(endpoints({"10.0.0.2:80", "10.0.0.3:80"}), {}).peer, "10.0.0.3:80");
    first.set_timeout(10s);
    std::error_code error;
    auto loser = first.accept(error);
    std::array<std::byte, 1> buffer;
    if (loser.is_open()) EXPECT_EQ(loser.read_some(buffer, error), 0u);
  });
}

// Cancelled at every call that may suspend, one after the other, be it an attempt's: connect() ends, tells how, and
// leaves nothing.
template <class Connect>
void cancel_everywhere(Connect connect_by) {
  const auto program = [&] {
    const auto first = listening_on("10.0.0.2", "10.0.0.2:80"), second = listening_on("10.0.0.3", "10.0.0.3:80");
    cut("10.0.0.2");
    const auto r = connect_by(endpoints({"10.0.0.2:80", "10.0.0.4:80", "10.0.0.3:80"}), connect_options{});
    if (!r.error && r.peer != "10.0.0.3:80") throw std::logic_error("connected to nobody");
  };
  const auto v = sim::check(program, {.each = {.leaks_fail = true}, .in_turn = sim::fault::cancellation});
  EXPECT_TRUE(v.passed) << v.report;
  EXPECT_GT(v.schedules, 3u);
}

TEST(connect_in_simulation, may_be_cancelled_at_every_call) { cancel_everywhere(from_fiber); }
TEST(connect_in_simulation, may_be_cancelled_at_every_call_of_a_task) { cancel_everywhere(from_task); }

// ---------------------------------------------------------------------------------------------------------------
// In either world.

class connect_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, connect_test, worker_counts, count_name);

// Where nobody listens.
endpoint nobody() {
  auto l = tcp_listener::bind("127.0.0.1:0");
  return endpoint(here(l));
}

task<> connect_or_throw(std::vector<endpoint> to, std::string& peer) {
  const auto stream = co_await async_connect(std::move(to));
  peer = stream.remote_address();
}

TEST_P(connect_test, connects_to_the_one_that_listens) {
  run([] {
    auto l = tcp_listener::bind("127.0.0.1:0");
    const std::vector<endpoint> to{nobody(), endpoint(here(l))};
    auto stream = connect(to);
    EXPECT_EQ(stream.remote_address(), here(l));
    auto server = l.accept();
    stream.write_all(bytes("hello"));
    EXPECT_EQ(read_whole(server, 5), "hello");
    std::string peer;
    spawn(connect_or_throw(to, peer)).join();
    EXPECT_EQ(peer, here(l));
  });
}

template <class F>
std::string failure_of(F f) {
  try {
    f();
  } catch (const std::system_error& e) {
    return e.what();
  }
  return "none";
}

TEST_P(connect_test, failure_tells_of_every_attempt) {
  run([] {
    const std::vector<endpoint> to{nobody(), nobody()};
    const auto expect_both = [&to](const std::string& said) {
      for (const auto& e : to) EXPECT_NE(said.find(e.to_string() + ": Connection refused"), said.npos) << said;
    };
    expect_both(failure_of([&] { connect(to); }));
    expect_both(failure_of([&] {
      std::string peer;
      spawn(connect_or_throw(to, peer)).join();
    }));
    std::error_code error;
    EXPECT_FALSE(connect(to, {}, error).is_open());
    EXPECT_EQ(error, std::errc::connection_refused);
  });
}

TEST_P(connect_test, nowhere_is_an_invalid_argument) {
  run([] {
    std::error_code error;
    EXPECT_FALSE(connect({}, {}, error).is_open());
    EXPECT_EQ(error, std::errc::invalid_argument);
  });
}

TEST_P(connect_test, in_a_cancelled_scope_it_does_not_happen) {
  run([] {
    auto l = tcp_listener::bind("127.0.0.1:0");
    const std::vector<endpoint> to{endpoint(here(l))};
    scope s;
    s.cancel();
    EXPECT_THROW(connect(to), cancelled);
    std::error_code error;
    EXPECT_FALSE(connect(to, {}, error).is_open());
    EXPECT_EQ(error, std::errc::operation_canceled);
  });
}

TEST_P(connect_test, many_at_a_time_leave_nothing) {
  run([] {
    auto l = tcp_listener::bind("127.0.0.1:0");
    const std::vector<endpoint> to{nobody(), endpoint(here(l)), endpoint(here(l))};
    std::atomic<int> connected = 0;
    {
      scope s;
      s.go([&] {
        std::error_code error;
        while (!error) (void)l.accept(error);
      });
      std::vector<future<void>> all;
      for (int i = 0; i < 20; ++i)
        all.push_back(s.async([&, i] { connected += connect(to, {.attempt_delay = i % 2 ? 0ns : 1ms}).is_open(); }));
      for (auto& one : all) one.get();
      s.cancel();
    }
    EXPECT_EQ(connected, 20);
  });
}

TEST(connect_on_threads, it_needs_a_fiber) { EXPECT_THROW(connect(endpoints({"127.0.0.1:1"})), std::logic_error); }

}  // namespace
}  // namespace thrum::net
