// Names in a simulation: what sim_names.hpp promises, what becomes of a resolver whose servers fail, and how long that
// takes. That a resolver does there what it does outside is dns_test.cpp's.
#include <thrum/net/resolver.hpp>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include <unistd.h>

#include <thrum/net/tcp_listener.hpp>

#include "dns/configuration.hpp"
#include "names_support.hpp"

namespace thrum::net {
namespace {

using namespace test;
using texts = std::vector<std::string>;

constexpr std::uint64_t seeds = 20;

// No time passes but where somebody waits.
sim::options timeless(std::uint64_t seed) {
  return {.seed = seed, .step = 0ns, .stall = 0ns, .latency_min = 0ns, .latency_max = 0ns};
}

void with_seeds(const std::function<void()>& program) {
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    sim::run({.seed = seed, .one_in_interrupted = 10}, program);
  }
}
void without_time(const std::function<void()>& program) {
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    sim::run(timeless(seed), program);
  }
}

texts spelled(const std::vector<endpoint>& all) {
  texts t;
  for (const auto& e : all) t.push_back(e.to_string());
  return t;
}
texts sorted(texts t) {
  std::sort(t.begin(), t.end());
  return t;
}

texts found(const resolver& names, const std::string& host) { return sorted(spelled(names.resolve(host, 80))); }

std::error_code failure(const resolver& names, const std::string& host, const resolve_options& o = {}) {
  std::error_code error;
  EXPECT_TRUE(names.resolve(host, 80, o, error).empty());
  return error;
}

task<> resolve_in_task(const resolver& names, std::string host, texts& result, std::error_code& error) {
  result = sorted(spelled(co_await names.async_resolve(std::move(host), 80, {}, error)));
}

std::error_code failure_in_task(const resolver& names, const std::string& host) {
  texts none;
  std::error_code error;
  spawn(resolve_in_task(names, host, none, error)).join();
  EXPECT_TRUE(none.empty());
  return error;
}

template <class F>
std::chrono::nanoseconds time_of(F f) {
  const auto start = clock::now();
  f();
  return clock::now() - start;
}

resolver asking(std::vector<endpoint> servers, std::chrono::milliseconds try_timeout = 100ms, unsigned tries = 3) {
  return resolver({.servers = std::move(servers), .try_timeout = try_timeout, .tries = tries});
}

// -----------------------------------------------------------------------------------------------------------------
// What there is.

TEST(sim_names, a_resolver_finds_the_names_that_the_program_has_made_up) {
  with_seeds([] {
    const resolver names;
    EXPECT_EQ(failure(names, "db.internal"), dns_errc::no_such_host);
    sim::set_name("DB.internal.", {"10.0.0.2", "2001:db8::2", "10.0.0.3"});
    EXPECT_EQ(found(names, "db.internal"), (texts{"10.0.0.2:80", "10.0.0.3:80", "[2001:db8::2]:80"}));
    EXPECT_EQ(found(names, "db.INTERNAL."), found(names, "db.internal"));
    EXPECT_EQ(names.query_ptr(endpoint("10.0.0.3:1")), texts{"db.internal"});
    EXPECT_EQ(names.query_ptr(endpoint("[2001:db8::2]:1")), texts{"db.internal"});
    texts in_task;
    std::error_code error;
    spawn(resolve_in_task(names, "db.internal", in_task, error)).join();
    EXPECT_EQ(in_task, found(names, "db.internal")) << error.message();

    sim::set_name("db.internal", {"10.0.0.4"});  // Instead.
    EXPECT_EQ(found(names, "db.internal"), texts{"10.0.0.4:80"});
    EXPECT_EQ(code_of([&] { names.query_ptr(endpoint("10.0.0.3:1")); }), dns_errc::no_such_host);
    sim::set_name("db.internal", {});
    EXPECT_EQ(failure(names, "db.internal"), dns_errc::no_such_record);
    sim::remove_name("db.internal");
    EXPECT_EQ(failure(names, "db.internal"), dns_errc::no_such_host);
  });
}

TEST(sim_names, services_mail_hosts_and_texts) {
  with_seeds([] {
    const resolver names;
    sim::set_services("_db._tcp.internal", {{.target = "b.internal", .port = 2, .priority = 20},
                                            {.target = "a.internal", .port = 1, .priority = 10, .weight = 5}});
    sim::set_services("_no._tcp.internal", {{.target = "."}});
    sim::set_mail_hosts("internal", {{"slow.internal", 20}, {"fast.internal", 10}});
    const std::string long_one(700, 'x');
    sim::set_texts("internal", {"one", "", long_one});
    const auto services = names.query_srv("_db._tcp.internal");
    ASSERT_EQ(services.size(), 2u);
    EXPECT_EQ(services[0].target + " " + services[1].target, "a.internal b.internal");
    EXPECT_EQ(services[0].port + services[0].weight, 6);
    EXPECT_EQ(code_of([&] { names.query_srv("_no._tcp.internal"); }), dns_errc::not_offered);
    EXPECT_EQ(names.query_mx("internal").at(0).host, "fast.internal");
    EXPECT_EQ(names.query_txt("internal"), (texts{"one", "", long_one}));  // By TCP: it is long.
    EXPECT_EQ(failure(names, "internal"), dns_errc::no_such_record);
    EXPECT_EQ(code_of([&] { names.query_mx("_db._tcp.internal"); }), dns_errc::no_such_record);
  });
}

TEST(sim_names, nothing_of_the_machine_counts_unless_it_is_asked_for) {
  ::setenv("LOCALDOMAIN", "example.org", 1);
  ::setenv("RES_OPTIONS", "ndots:5", 1);
  std::string path = "/tmp/thrum_names_XXXXXX";
  ::close(::mkstemp(path.data()));
  std::ofstream(path) << "nameserver 10.0.0.53\nsearch one.test two.test\n";
  std::string hosts = "/tmp/thrum_hosts_XXXXXX";
  ::close(::mkstemp(hosts.data()));
  std::ofstream(hosts) << "10.0.0.9 nine.test\n";
  sim::run({}, [&] {
    const resolver usual;
    EXPECT_EQ(spelled(usual.servers()), texts{"192.0.2.53:53"});
    EXPECT_TRUE(usual.search_domains().empty());
    EXPECT_TRUE(usual.configuration().is_asked_first("www.test"));
    EXPECT_EQ(failure(usual, "nine.test"), dns_errc::no_such_host);
    EXPECT_EQ(found(usual, "localhost"), (texts{"127.0.0.1:80", "[::1]:80"}));
    sim::on_host("2001:db8::1", [] { EXPECT_EQ(spelled(resolver().servers()), texts{"[2001:db8::53]:53"}); });
    EXPECT_EQ(spelled(resolver({.configuration_file = ""}).servers()), texts{"127.0.0.1:53"});
    ::unsetenv("LOCALDOMAIN");
    const resolver own({.configuration_file = path, .hosts_file = hosts});
    EXPECT_EQ(spelled(own.servers()), texts{"10.0.0.53:53"});
    EXPECT_EQ(own.search_domains(), (texts{"one.test", "two.test"}));
    EXPECT_EQ(found(own, "nine.test"), texts{"10.0.0.9:80"});
  });
  ::unsetenv("RES_OPTIONS");
  ::unlink(path.c_str());
  ::unlink(hosts.c_str());
}

// What cannot be reached from a host comes last there.
TEST(sim_names, the_order_of_addresses_is_that_of_the_host_that_asks) {
  with_seeds([] {
    sim::set_name("www.internal", {"10.0.0.2", "2001:db8::2", "10.0.0.3"});
    sim::on_host("10.0.0.1", [] {
      EXPECT_EQ(spelled(resolver().resolve("www.internal", 80)),
                (texts{"10.0.0.2:80", "10.0.0.3:80", "[2001:db8::2]:80"}));
    });
    sim::on_host("2001:db8::1", [] {
      EXPECT_EQ(spelled(resolver().resolve("www.internal", 80)),
                (texts{"[2001:db8::2]:80", "10.0.0.2:80", "10.0.0.3:80"}));
    });
  });
}

TEST(sim_names, what_makes_no_sense_is_refused) {
  EXPECT_THROW(sim::set_name("www.test", {"10.0.0.1"}), std::logic_error);
  sim::run({}, [] {
    for (const auto& bad : {std::string(), std::string("a..b"), std::string(64, 'x'), std::string(".")})
      EXPECT_THROW(sim::set_name(bad, {"10.0.0.1"}), std::invalid_argument) << bad;
    EXPECT_THROW(sim::set_name("www.test", {"www.test"}), std::invalid_argument);
    EXPECT_THROW(sim::set_services("_x._tcp.test", {{.target = "a..b"}}), std::invalid_argument);
    EXPECT_THROW(sim::set_name_server("somewhere"), std::invalid_argument);
    EXPECT_THROW(sim::set_name_server("10.0.0.53", {.latency_min = -1ns}), std::invalid_argument);
    EXPECT_EQ(failure(resolver(), "www.test"), dns_errc::no_such_host);
  });
}

// -----------------------------------------------------------------------------------------------------------------
// What goes wrong.

TEST(sim_names, lost_queries_are_asked_again) {
  std::chrono::nanoseconds longest{0};
  with_seeds([&] {
    sim::set_name("www.internal", {"10.0.0.2"});
    sim::set_name_server(sim::default_name_server, {.one_in_lost = 2});
    const resolver names({.try_timeout = 100ms, .tries = 20});
    longest = std::max(longest, time_of([&] { EXPECT_EQ(found(names, "www.internal"), texts{"10.0.0.2:80"}); }));
  });
  EXPECT_GE(longest, 300ms);
}

TEST(sim_names, datagrams_that_are_lost_or_doubled_do_no_harm) {
  for (std::uint64_t seed = 1; seed <= seeds; ++seed)
    sim::run({.seed = seed, .one_in_lost = 3, .one_in_duplicated = 3}, [] {
      sim::set_name("www.internal", {"10.0.0.2", "2001:db8::2"});
      const resolver names({.try_timeout = 100ms, .tries = 30});
      for (int i = 0; i < 5; ++i) EXPECT_EQ(found(names, "www.internal"), (texts{"10.0.0.2:80", "[2001:db8::2]:80"}));
    });
}

// c-ares' own: 5 s, 4 rounds, each twice as long as the one before.
TEST(sim_names, silence_is_waited_for_as_long_as_c_ares_does) {
  without_time([] {
    const std::vector<endpoint> three{endpoint("10.0.0.51:53"), endpoint("10.0.0.52:53"), endpoint("10.0.0.53:53")};
    for (const auto* host : {"10.0.0.51", "10.0.0.52", "10.0.0.53"}) sim::set_name_server(host, {.down = true});
    sim::set_name_server(sim::default_name_server, {.one_in_lost = 1});
    const auto patience = [](const resolver& names, auto fails) {
      return time_of([&] { EXPECT_EQ(fails(names, "www.internal"), dns_errc::timed_out); });
    };
    const auto by_fiber = [](const resolver& n, const char* host) { return failure(n, host); };
    const auto by_task = [](const resolver& n, const char* host) { return failure_in_task(n, host); };
    EXPECT_EQ(patience(resolver(), by_fiber), (5s + 10s + 20s + 40s));
    EXPECT_EQ(patience(resolver(), by_task), (5s + 10s + 20s + 40s));
    EXPECT_EQ(patience(asking(three), by_fiber), 3 * (100ms + 200ms + 400ms));
    EXPECT_EQ(patience(asking(three), by_task), 3 * (100ms + 200ms + 400ms));
    EXPECT_EQ(patience(asking(three, 7ms, 1), by_fiber), 3 * 7ms);
  });
}

TEST(sim_names, the_calls_own_limit_comes_first) {
  without_time([] {
    sim::set_name_server(sim::default_name_server, {.down = true});
    const resolver names;
    EXPECT_EQ(time_of([&] {
                EXPECT_EQ(failure(names, "www.internal", {.timeout = 50ms}),
                          std::make_error_code(std::errc::timed_out));
              }),
              50ms);
  });
}

// The question of the first round is answered in the second.
TEST(sim_names, an_answer_counts_however_late_it_is) {
  without_time([] {
    sim::set_name("www.internal", {"10.0.0.2"});
    sim::set_name_server(sim::default_name_server, {.latency_min = 1s});
    const resolver names({.try_timeout = 600ms, .tries = 2});
    EXPECT_EQ(time_of([&] { EXPECT_EQ(found(names, "www.internal"), texts{"10.0.0.2:80"}); }), 1s);
  });
}

TEST(sim_names, a_cut_link_is_silence_for_those_behind_it) {
  with_seeds([] {
    sim::set_name("www.internal", {"10.0.0.2"});
    const resolver names({.try_timeout = 100ms, .tries = 3});
    for (const bool there : {true, false}) {
      const std::string from = there ? "10.0.0.1" : "192.0.2.53", to = there ? "192.0.2.53" : "10.0.0.1";
      sim::set_link(from, to, {.cut = true});
      sim::on_host("10.0.0.1", [&] { EXPECT_EQ(failure(names, "www.internal"), dns_errc::timed_out); });
      sim::on_host("10.0.0.3", [&] { EXPECT_EQ(found(names, "www.internal"), texts{"10.0.0.2:80"}); });
      fiber later = spawn([&] {
        this_fiber::sleep_for(150ms);
        sim::set_link(from, to, {});
      });
      sim::on_host("10.0.0.1", [&] { EXPECT_EQ(found(names, "www.internal"), texts{"10.0.0.2:80"}); });
      later.join();
    }
  });
}

TEST(sim_names, a_server_that_fails_is_followed_by_the_next) {
  without_time([] {
    sim::set_name("www.internal", {"10.0.0.2"});
    sim::set_name_server("10.0.0.51", {.one_in_failures = 1});
    sim::set_name_server("10.0.0.52");
    const auto names = asking({endpoint("10.0.0.51:53"), endpoint("10.0.0.52:53")});
    EXPECT_EQ(time_of([&] { EXPECT_EQ(found(names, "www.internal"), texts{"10.0.0.2:80"}); }), 0s);
    sim::set_name_server("10.0.0.52", {.one_in_failures = 1});
    EXPECT_EQ(failure(names, "www.internal"), dns_errc::server_failed);
    sim::set_name_server("10.0.0.52", {.down = true});
    EXPECT_EQ(failure(names, "www.internal"), dns_errc::timed_out);
    sim::set_name_server("10.0.0.51");
    EXPECT_EQ(found(names, "www.internal"), texts{"10.0.0.2:80"});
  });
}

TEST(sim_names, a_server_that_fails_now_and_then_is_asked_again) {
  with_seeds([] {
    sim::set_name("www.internal", {"10.0.0.2"});
    sim::set_name_server(sim::default_name_server, {.one_in_failures = 2});
    EXPECT_EQ(found(resolver({.tries = 30}), "www.internal"), texts{"10.0.0.2:80"});
  });
}

TEST(sim_names, where_there_is_no_server_nobody_is_waited_for) {
  without_time([] {
    const auto names = asking({endpoint("10.0.0.51:53"), endpoint("127.0.0.1:53")});
    EXPECT_EQ(time_of([&] { EXPECT_EQ(failure(names, "www.internal"), dns_errc::no_server); }), 0s);
    sim::on_host("2001:db8::1", [] {  // Has no address for that.
      EXPECT_EQ(failure(asking({endpoint("192.0.2.53:53")}), "www.internal"), dns_errc::no_server);
    });
  });
}

TEST(sim_names, what_is_truncated_comes_by_tcp) {
  with_seeds([] {
    texts addresses, expected;
    for (int i = 100; i < 200; ++i) {
      addresses.push_back("10.0.0." + std::to_string(i));
      expected.push_back(addresses.back() + ":80");
    }
    sim::set_name("many.internal", addresses);
    sim::set_name("www.internal", {"10.0.0.2"});
    const resolver names;
    EXPECT_EQ(found(names, "many.internal"), expected);
    sim::set_name_server(sim::default_name_server, {.latency_max = 10ms, .one_in_truncated = 1});
    EXPECT_EQ(found(names, "www.internal"), texts{"10.0.0.2:80"});
    EXPECT_EQ(failure(names, "no.internal"), dns_errc::no_such_host);
  });
}

// -----------------------------------------------------------------------------------------------------------------
// Programs.

task<> connect_in_task(const resolver& names, std::string& peer) {
  const auto stream = co_await async_connect(names, "www.internal", 80);
  peer = stream.remote_address();
}

tcp_listener listening(std::string_view host) {
  return sim::on_host(host, [] { return tcp_listener::bind(":80"); });
}

TEST(sim_names, a_dead_address_costs_a_head_start) {
  with_seeds([] {
    sim::set_name("www.internal", {"10.0.0.2", "10.0.0.3"});
    const auto l = listening("10.0.0.3");
    sim::on_host("10.0.0.1", [] {
      sim::set_link("10.0.0.1", "10.0.0.2", {.cut = true});
      const resolver names;
      EXPECT_LT(time_of([&] { EXPECT_EQ(connect(names, "www.internal", 80).remote_address(), "10.0.0.3:80"); }), 300ms);
      std::string peer;
      EXPECT_LT(time_of([&] { spawn(connect_in_task(names, peer)).join(); }), 300ms);
      EXPECT_EQ(peer, "10.0.0.3:80");
    });
  });
}

// Resolves in every way at once, from servers that fail in every way. What comes of it is said by the answers.
void a_program_of_names() {
  sim::set_name("www.internal", {"10.0.0.3"});
  sim::set_services("_w._tcp.internal", {{.target = "www.internal", .port = 80}});
  sim::set_name_server("10.0.0.51", {.latency_max = 50ms, .one_in_lost = 3, .one_in_failures = 3});
  sim::set_name_server("10.0.0.52", {.latency_max = 50ms, .one_in_lost = 3, .one_in_truncated = 3});
  const auto l = listening("10.0.0.3");
  const auto names = asking({endpoint("10.0.0.51:53"), endpoint("10.0.0.52:53")}, 100ms, 12);
  sim::on_host("10.0.0.1", [&] {
    texts in_task;
    std::string peer;
    std::error_code error;
    scope s;
    s.go([&] { EXPECT_EQ(found(names, "www.internal"), texts{"10.0.0.3:80"}); });
    s.go([&] { EXPECT_EQ(names.query_srv("_w._tcp.internal").at(0).target, "www.internal"); });
    s.go([&] { EXPECT_EQ(names.query_ptr(endpoint("10.0.0.3:1")), texts{"www.internal"}); });
    s.go([&] { EXPECT_EQ(connect(names, "www.internal", 80).remote_address(), "10.0.0.3:80"); });
    go_in(s, resolve_in_task(names, "www.internal", in_task, error));
    go_in(s, connect_in_task(names, peer));
    s.join();
    EXPECT_EQ(in_task, texts{"10.0.0.3:80"}) << error.message();
    EXPECT_EQ(peer, "10.0.0.3:80");
  });
}

TEST(sim_names, the_same_seed_is_the_same_schedule) {
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    const auto once = sim::run({.seed = seed}, a_program_of_names);
    EXPECT_EQ(once, sim::run({.seed = seed}, a_program_of_names)) << seed;
  }
}

TEST(sim_names, programs_of_names_are_explored) {
  const auto v =
      sim::check(a_program_of_names, {.schedules = 200,
                                      .each = {.one_in_duplicated = 3, .one_in_interrupted = 10, .one_in_spurious = 3},
                                      .failed = [] { return ::testing::Test::HasFailure(); }});
  EXPECT_TRUE(v.passed) << v.report;
}

void resolve_if_possible() {
  sim::set_name("www.internal", {"10.0.0.3"});
  sim::set_name_server(sim::default_name_server, {.latency_max = 50ms, .one_in_lost = 3, .one_in_truncated = 2});
  const auto l = listening("10.0.0.3");
  const resolver names({.try_timeout = 100ms, .tries = 12});
  sim::on_host("10.0.0.1", [&] {
    std::error_code in_fiber, in_task;
    texts by_fiber, by_task;
    std::string peer;
    scope s;
    s.go([&] { by_fiber = spelled(names.resolve("www.internal", 80, {}, in_fiber)); });
    go_in(s, resolve_in_task(names, "www.internal", by_task, in_task));
    s.go([&] { peer = connect(names, "www.internal", 80).remote_address(); });
    s.join();
    for (const auto& [all, error] : {std::pair{by_fiber, in_fiber}, std::pair{by_task, in_task}})
      EXPECT_TRUE(error ? all.empty() && error == std::errc::operation_canceled
                        : all.empty() || all == texts{"10.0.0.3:80"})
          << error.message();
    EXPECT_TRUE(peer.empty() || peer == "10.0.0.3:80");
  });
}

void expect_it_to_hold(sim::fault in_turn) {
  for (std::uint64_t seed = 1; seed <= 8; ++seed) {
    const auto v = sim::check(resolve_if_possible, {.first_seed = seed,
                                                    .each = {.leaks_fail = true},
                                                    .failed = [] { return ::testing::Test::HasFailure(); },
                                                    .in_turn = in_turn});
    EXPECT_TRUE(v.passed) << v.report;
    EXPECT_GT(v.schedules, 20u);
  }
}

TEST(sim_names, cancellation_at_whatever_place_is_told_and_leaves_nothing) {
  expect_it_to_hold(sim::fault::cancellation);
}

TEST(sim_names, want_of_memory_at_whatever_place_is_told_and_leaves_nothing) {
  if (under_tsan) GTEST_SKIP() << "ThreadSanitizer has operators of its own";
  expect_it_to_hold(sim::fault::allocation);
}

}  // namespace
}  // namespace thrum::net
