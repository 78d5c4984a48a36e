// What resolver.hpp promises, against a name server of our own, on loopback, that does what name servers do wrong.
#include <thrum/net/resolver.hpp>

#include <atomic>
#include <chrono>
#include <fstream>
#include <functional>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include <unistd.h>

#include "dns/hosts_table.hpp"
#include "dns/lookups.hpp"
#include "dns_server.hpp"
#include "net/system_calls.hpp"
#include "support.hpp"
#include "tcp_support.hpp"

namespace thrum::net {
namespace {

using namespace test;
using namespace dns_test;
using texts = std::vector<std::string>;

class resolver_test : public on_workers {
 protected:
  // f(server), while it serves.
  template <class F>
  void with(name_server::script answers, F f) {
    run([&] {
      name_server one(std::move(answers));
      f(one);
    });
  }
};
INSTANTIATE_TEST_SUITE_P(workers, resolver_test, worker_counts, count_name);

// Asks only these, and believes no file. No test waits for so long.
resolver_options asking(std::vector<endpoint> servers) {
  return {.servers = std::move(servers),
          .search_domains = texts(),
          .ndots = 1,
          .try_timeout = std::chrono::hours(1),
          .tries = 1,
          .configuration_file = "",
          .hosts_file = ""};
}
resolver_options asking(const name_server& one) { return asking({one.at()}); }
// That does not mind silence.
resolver_options insisting(const name_server& one) {
  auto o = asking(one);
  o.try_timeout = 20ms;
  o.tries = 8;
  return o;
}

texts sorted(const std::vector<endpoint>& all) {
  texts t;
  for (const auto& e : all) t.push_back(e.to_string());
  std::sort(t.begin(), t.end());
  return t;
}

struct outcome {
  texts found;  // Sorted.
  std::error_code error;
};

task<> resolve_in_task(const resolver& names, std::string host, resolve_options o, outcome& r) {
  const auto all = co_await names.async_resolve(std::move(host), 80, o, r.error);
  r.found = sorted(all);
}

outcome by_fiber(const resolver& names, const std::string& host, const resolve_options& o = {}) {
  outcome r;
  r.found = sorted(names.resolve(host, 80, o, r.error));
  return r;
}
outcome by_task(const resolver& names, const std::string& host, const resolve_options& o) {
  outcome r;
  spawn(resolve_in_task(names, host, o, r)).join();
  return r;
}
outcome by_thread(const resolver& names, const std::string& host, const resolve_options& o) {
  outcome r;
  event done;
  std::thread t([&] {
    r = by_fiber(names, host, o);
    done.set();
  });
  done.wait();
  t.join();
  return r;
}

// A simulation has no threads of the program's own.
bool threads_may_ask() { return system::own() == nullptr; }

// The same, whoever asks.
outcome resolved(const resolver& names, const std::string& host, const resolve_options& o = {}) {
  const auto first = by_fiber(names, host, o);
  for (const auto way : {by_task, by_thread}) {
    if (way == by_thread && !threads_may_ask()) continue;
    const auto other = way(names, host, o);
    EXPECT_EQ(other.found, first.found) << host;
    EXPECT_EQ(other.error, first.error) << host;
  }
  return first;
}

TEST_P(resolver_test, both_families_are_found) {
  with(from_zone({{"www.test", host_at("192.0.2.1")},
                  {"www.test", host_at("192.0.2.2")},
                  {"www.test", host_at("2001:db8::1")}}),
       [](name_server& one) {
         const resolver names(asking(one));
         EXPECT_EQ(resolved(names, "www.test").found, (texts{"192.0.2.1:80", "192.0.2.2:80", "[2001:db8::1]:80"}));
         EXPECT_EQ(resolved(names, "www.test", {.family = address_family::v4}).found,
                   (texts{"192.0.2.1:80", "192.0.2.2:80"}));
         EXPECT_EQ(resolved(names, "www.test", {.family = address_family::v6}).found, texts{"[2001:db8::1]:80"});
         EXPECT_EQ(names.resolve("www.test", 0).size(), 3u);
       });
}

// RFC 6724: what cannot be reached comes last; among the rest ::1 has the higher precedence.
TEST_P(resolver_test, the_order_is_that_of_rfc_6724) {
  with(from_zone({{"www.test", host_at("127.0.0.1")}, {"www.test", host_at("::1")}}), [](name_server& one) {
    std::error_code no_v6;
    (void)udp_socket::connect("[::1]:9", no_v6);
    const auto found = resolver(asking(one)).resolve("www.test", 80);
    const endpoint v4("127.0.0.1:80"), v6("[::1]:80");
    EXPECT_EQ(found, no_v6 ? (std::vector<endpoint>{v4, v6}) : (std::vector<endpoint>{v6, v4}));
  });
}

TEST_P(resolver_test, what_servers_say_is_told_apart) {
  const std::pair<reply, dns_errc> all[] = {{{.code = name_error}, dns_errc::no_such_host},
                                            {{}, dns_errc::no_such_record},
                                            {{.code = server_failure}, dns_errc::server_failed},
                                            {{.code = dns_test::refused}, dns_errc::refused},
                                            {{.code = dns_test::not_implemented}, dns_errc::not_implemented}};
  for (const auto& [said, meant] : all)
    with(always(said), [m = meant](name_server& one) {
      const resolver names(asking(one));
      const auto r = resolved(names, "www.test");
      EXPECT_EQ(r.error, m) << r.error.message();
      EXPECT_TRUE(r.found.empty());
      EXPECT_EQ(code_of([&] { names.query_txt("www.test"); }), m);
    });
}

TEST_P(resolver_test, failure_names_the_host) {
  with(always({.code = name_error}), [](name_server& one) {
    std::string said;
    try {
      resolver(asking(one)).resolve("www.test", 80);
    } catch (const std::system_error& e) {
      said = e.what();
    }
    EXPECT_EQ(said, "thrum: cannot resolve www.test: no such host");
  });
}

TEST_P(resolver_test, a_truncated_answer_is_asked_for_by_tcp) {
  zone z;
  texts expected;
  for (int i = 10; i < 99; ++i) {
    const auto host = "192.0.2." + std::to_string(i);
    z.emplace("www.test", host_at(host.c_str()));
    expected.push_back(host + ":80");
  }
  const auto whole = from_zone(z);
  with(
      [whole](const query& q, int nth) {
        auto r = whole(q, nth);
        r.truncated = true;
        return r;
      },
      [&](name_server& one) {
        EXPECT_EQ(resolved(resolver(asking(one)), "www.test", {.family = address_family::v4}).found, expected);
        EXPECT_EQ(one.asked_by_tcp, threads_may_ask() ? 3 : 2);
      });
}

TEST_P(resolver_test, what_is_lost_is_asked_for_again) {
  with([](const query&, int nth) { return reply{.records = {host_at("192.0.2.1")}, .lost = nth == 1}; },
       [](name_server& one) {
         const auto r = by_fiber(resolver(insisting(one)), "www.test", {.family = address_family::v4});
         EXPECT_EQ(r.found, texts{"192.0.2.1:80"}) << r.error.message();
         EXPECT_GE(one.asked, 2);
       });
}

TEST_P(resolver_test, silence_is_timed_out) {
  with(always({.lost = true}), [](name_server& one) {
    auto o = asking(one);
    o.try_timeout = 5ms;
    const auto r = resolved(resolver(o), "www.test");
    EXPECT_EQ(r.error, dns_errc::timed_out) << r.error.message();
    EXPECT_EQ(r.error, std::errc::timed_out);
  });
}

TEST_P(resolver_test, the_calls_own_limit_comes_first) {
  with(always({.lost = true}), [](name_server& one) {
    const auto r = resolved(resolver(asking(one)), "www.test", {.timeout = 5ms});
    EXPECT_EQ(r.error, std::make_error_code(std::errc::timed_out)) << r.error.message();
  });
}

TEST_P(resolver_test, where_nobody_listens_there_is_no_server) {
  run([] {
    const auto nobody = [] { return endpoint(udp_socket::bind("127.0.0.1:0").local_address()); };
    const auto r = resolved(resolver(asking({nobody(), nobody()})), "www.test");
    EXPECT_EQ(r.error, dns_errc::no_server) << r.error.message();
  });
}

TEST_P(resolver_test, lies_are_not_believed) {
  with(always({.records = {host_at("192.0.2.1")}, .lies_before = true}), [](name_server& one) {
    const auto r = resolved(resolver(asking(one)), "www.test", {.family = address_family::v4});
    EXPECT_EQ(r.found, texts{"192.0.2.1:80"}) << r.error.message();
  });
}

void expect_the_second_is_asked(const reply& of_the_first, std::chrono::milliseconds try_timeout, unsigned tries) {
  name_server first(always(of_the_first)), second(from_zone({{"www.test", host_at("192.0.2.1")}}));
  auto o = asking({first.at(), second.at()});
  o.try_timeout = try_timeout;
  o.tries = tries;
  const auto r = by_fiber(resolver(o), "www.test");
  EXPECT_EQ(r.found, texts{"192.0.2.1:80"}) << r.error.message();
  EXPECT_GE(first.asked, 1);
}

TEST_P(resolver_test, the_next_server_is_asked_when_one_fails) {
  run([] {
    expect_the_second_is_asked({.code = server_failure}, std::chrono::hours(1), 1);
    expect_the_second_is_asked({.lost = true}, 20ms, 8);
  });
}

// One that fails is not asked again if there are others, and the others in every round.
TEST_P(resolver_test, servers_are_asked_in_turn) {
  run([] {
    name_server failing(always({.code = server_failure})), silent(always({.lost = true})), mute(always({.lost = true}));
    auto o = asking({silent.at(), failing.at(), mute.at()});
    const bool in_simulation = !threads_may_ask();
    o.try_timeout = in_simulation ? 100ms : 2ms;  // Which a refusal may miss, on a machine that is busy.
    o.tries = 3;
    const auto r = by_fiber(resolver(o), "www.test", {.family = address_family::v4});
    EXPECT_EQ(r.error, dns_errc::timed_out) << r.error.message();
    EXPECT_TRUE(eventually([&] { return silent.asked == 3 && mute.asked == 3; }));
    EXPECT_LE(failing.asked, in_simulation ? 1 : 3);
    EXPECT_GE(failing.asked, 1);
  });
}

TEST_P(resolver_test, short_names_are_searched_for) {
  with(from_zone({{"db.two.test", host_at("192.0.2.1")}, {"db", host_at("192.0.2.9")}, {"a.b", host_at("192.0.2.3")}}),
       [](name_server& one) {
         auto o = asking(one);
         o.search_domains = texts{"one.test", "two.test"};
         const resolver names(o);
         EXPECT_EQ(names.search_domains(), *o.search_domains);
         EXPECT_EQ(resolved(names, "db").found, texts{"192.0.2.1:80"});
         EXPECT_EQ(resolved(names, "db.").found, texts{"192.0.2.9:80"});
         EXPECT_EQ(resolved(names, "a.b").found, texts{"192.0.2.3:80"});
         EXPECT_EQ(resolved(names, "db.two").error, dns_errc::no_such_host);
         o.ndots = 2;
         o.search_domains = texts{"test"};
         EXPECT_EQ(resolved(resolver(o), "db.two").found, texts{"192.0.2.1:80"});
       });
}

TEST_P(resolver_test, numeric_addresses_ask_nobody) {
  run([] {
    const resolver names(asking(std::vector<endpoint>{endpoint("127.0.0.1:1")}));
    EXPECT_EQ(resolved(names, "192.0.2.1").found, texts{"192.0.2.1:80"});
    EXPECT_EQ(resolved(names, "2001:db8::1").found, texts{"[2001:db8::1]:80"});
    EXPECT_EQ(resolved(names, "[::1]").found, texts{"[::1]:80"});
    EXPECT_EQ(resolved(names, "::1", {.family = address_family::v4}).error, dns_errc::no_such_record);
    EXPECT_EQ(resolved(names, "localhost").found, (texts{"127.0.0.1:80", "[::1]:80"}));
    EXPECT_EQ(resolved(names, "my.LOCALHOST.", {.family = address_family::v4}).found, texts{"127.0.0.1:80"});
  });
}

TEST_P(resolver_test, what_is_no_name_is_not_asked_for) {
  with(always({.code = server_failure}), [](name_server& one) {
    const resolver names(asking(one));
    for (const auto& bad : {std::string(), std::string("a\0b", 3), std::string(64, 'x') + ".test",
                            "a..test" + std::string(), std::string(300, 'x')})
      EXPECT_EQ(resolved(names, bad).error, dns_errc::bad_name) << bad;
    EXPECT_EQ(code_of([&] { names.query_srv(""); }), dns_errc::bad_name);
    EXPECT_EQ(code_of([&] { names.query_ptr(endpoint()); }), dns_errc::bad_name);
    EXPECT_EQ(one.asked, 0);
  });
}

// -----------------------------------------------------------------------------------------------------------------
// Files.

class temporary_file {
 public:
  explicit temporary_file(std::string_view content) {
    const int fd = ::mkstemp(path_.data());
    EXPECT_GE(fd, 0);
    ::close(fd);
    std::ofstream(path_) << content;
  }
  ~temporary_file() { ::unlink(path_.c_str()); }
  const std::string& path() const { return path_; }

 private:
  std::string path_ = "/tmp/thrum_dns_XXXXXX";
};

TEST_P(resolver_test, the_hosts_file_comes_before_the_servers) {
  with(from_zone({{"other.test", host_at("192.0.2.7")}, {"one.test", host_at("2001:db8::7")}}), [](name_server& one) {
    const temporary_file hosts(
        "# comment\n192.0.2.1 one.test One # 192.0.2.3 no.test\n\n192.0.2.2\tone.test\n"
        "nonsense one.test\n10.0.0.1\n");
    auto o = asking(one);
    o.hosts_file = hosts.path();
    const resolver names(o);
    EXPECT_EQ(resolved(names, "ONE.test.").found, (texts{"192.0.2.1:80", "192.0.2.2:80"}));
    EXPECT_EQ(resolved(names, "one").found, texts{"192.0.2.1:80"});
    EXPECT_EQ(one.asked, 0);
    EXPECT_EQ(resolved(names, "one.test", {.family = address_family::v6}).found, texts{"[2001:db8::7]:80"});
    EXPECT_EQ(resolved(names, "other.test").found, texts{"192.0.2.7:80"});
    EXPECT_EQ(resolved(names, "no.test").error, dns_errc::no_such_host);
  });
}

TEST(dns_files, the_configuration_is_read_when_a_resolver_is_made) {
  const temporary_file file("nameserver 192.0.2.53\nnameserver 2001:db8::53\nsearch a.test b.test\noptions ndots:3\n");
  const resolver names({.configuration_file = file.path()});
  EXPECT_EQ(names.servers(), (std::vector<endpoint>{endpoint("192.0.2.53:53"), endpoint("[2001:db8::53]:53")}));
  EXPECT_EQ(names.search_domains(), (texts{"a.test", "b.test"}));
  const resolver copy = names;
  EXPECT_EQ(copy.servers(), names.servers());
}

TEST(dns_files, files_that_are_missing_are_empty_ones) {
  const resolver names({.configuration_file = "/nonexistent/resolv.conf", .hosts_file = "/nonexistent/hosts"});
  EXPECT_FALSE(names.servers().empty());
  EXPECT_THROW(resolver({.try_timeout = -1ms}), std::invalid_argument);
}

// -----------------------------------------------------------------------------------------------------------------
// Other records.

std::string spelled(const std::vector<srv_record>& all) {
  std::string t;
  for (const auto& s : all)
    t += s.target + ":" + std::to_string(s.port) + " p" + std::to_string(s.priority) + " w" + std::to_string(s.weight) +
         "; ";
  return t;
}

TEST_P(resolver_test, services_are_ordered_by_priority) {
  with(from_zone({{"_x._tcp.test", service(20, 0, 3, "c.test")},
                  {"_x._tcp.test", service(10, 5, 1, "a.test")},
                  {"_x._tcp.test", service(15, 5, 2, "b.test")},
                  {"_no._tcp.test", service(0, 0, 0, "")}}),
       [](name_server& one) {
         const resolver names(asking(one));
         EXPECT_EQ(spelled(names.query_srv("_x._tcp.test")), "a.test:1 p10 w5; b.test:2 p15 w5; c.test:3 p20 w0; ");
         EXPECT_EQ(code_of([&] { names.query_srv("_no._tcp.test"); }), dns_errc::not_offered);
         EXPECT_EQ(code_of([&] { names.query_srv("_y._tcp.test"); }), dns_errc::no_such_host);
       });
}

TEST(dns_services, weights_are_chances) {
  const std::vector<srv_record> all{{"a", 1, 1, 10}, {"b", 1, 1, 0}, {"c", 1, 1, 30}, {"d", 1, 0, 1}};
  const auto ordered = [&all](std::uint32_t (*random)(std::uint32_t)) {
    auto records = all;
    order_services(records, random);
    std::string t;
    for (const auto& r : records) t += r.target;
    return t;
  };
  EXPECT_EQ(ordered([](std::uint32_t) { return std::uint32_t{0}; }), "dbac");
  EXPECT_EQ(ordered([](std::uint32_t n) { return n - 1; }), "dcab");
  EXPECT_EQ(ordered([](std::uint32_t n) { return std::min(n - 1, std::uint32_t{10}); }), "dacb");
}

task<> ask_in_task(const resolver& names, std::string& said) {
  const auto services = co_await names.async_query_srv("_x._tcp.test");
  const auto mail = co_await names.async_query_mx("test");
  const auto notes = co_await names.async_query_txt("test");
  const auto reverse = co_await names.async_query_ptr(endpoint("192.0.2.1:80"));
  said = services.at(0).target + " " + mail.at(0).host + " " + notes.at(0) + " " + reverse.at(0);
  std::error_code error;
  const auto none = co_await names.async_query_mx("nowhere.test", {}, error);
  EXPECT_EQ(error, dns_errc::no_such_host);
  EXPECT_TRUE(none.empty());
}

TEST_P(resolver_test, mail_hosts_texts_and_names_of_addresses) {
  with(from_zone(
           {{"test", mail_host(20, "slow.test")},
            {"test", mail_host(10, "fast.test")},
            {"test", text({"one ", "record"})},
            {"test", text({"another"})},
            {"_x._tcp.test", service(1, 1, 1, "a.test")},
            {"1.2.0.192.in-addr.arpa", name_of_address("www.test")},
            {"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", name_of_address("six.test")}}),
       [](name_server& one) {
         const resolver names(asking(one));
         const auto mail = names.query_mx("test");
         ASSERT_EQ(mail.size(), 2u);
         EXPECT_EQ(mail[0].host + " " + mail[1].host, "fast.test slow.test");
         EXPECT_EQ(mail[1].preference, 20);
         EXPECT_EQ(names.query_txt("test"), (texts{"one record", "another"}));
         EXPECT_EQ(names.query_ptr(endpoint("192.0.2.1:7")), texts{"www.test"});
         EXPECT_EQ(names.query_ptr(endpoint("[2001:db8::1]:7")), texts{"six.test"});
         EXPECT_EQ(code_of([&] { names.query_ptr(endpoint("192.0.2.2:7")); }), dns_errc::no_such_host);
         EXPECT_EQ(code_of([&] { names.query_srv("test"); }), dns_errc::no_such_record);
         std::string said;
         spawn(ask_in_task(names, said)).join();
         EXPECT_EQ(said, "a.test fast.test one record www.test");
       });
}

// -----------------------------------------------------------------------------------------------------------------
// Cancellation, and crowds.

TEST_P(resolver_test, a_query_that_waits_can_be_cancelled) {
  with(always({.lost = true}), [](name_server& one) {
    const resolver names(asking(one));
    std::atomic<int> cancelled_ones = 0, reported = 0;
    {
      scope s;
      s.go([&] {
        try {
          names.resolve("www.test", 80);
        } catch (const cancelled&) {
          ++cancelled_ones;
          throw;
        }
      });
      s.go([&] { reported += by_fiber(names, "www.test").error == std::errc::operation_canceled; });
      s.go([&] {
        std::error_code error;
        names.query_srv("www.test", {}, error);
        reported += error == std::errc::operation_canceled;
      });
      s.go([&] {
        std::error_code error;
        names.query_ptr(endpoint("192.0.2.1:1"), {}, error);
        reported += error == std::errc::operation_canceled;
      });
      outcome r;
      auto t = spawn(resolve_in_task(names, "www.test", {}, r));
      EXPECT_TRUE(eventually([&] { return one.asked >= 8; }));  // Addresses are two queries.
      s.cancel();
      t.request_stop();
      t.join();
      reported += r.error == std::errc::operation_canceled;
      s.join();
    }
    EXPECT_EQ(cancelled_ones, 1);
    EXPECT_EQ(reported, 4);
  });
}

TEST_P(resolver_test, in_a_cancelled_scope_nothing_is_asked) {
  with(always({.code = name_error}), [](name_server& one) {
    const resolver names(asking(one));
    scope s;
    s.cancel();
    EXPECT_THROW(names.resolve("www.test", 80), cancelled);
    EXPECT_THROW(names.resolve("192.0.2.1", 80), cancelled);  // Also what would not have had to wait.
    EXPECT_THROW(names.query_mx("www.test"), cancelled);
    EXPECT_EQ(one.asked, 0);
  });
}

// At whatever moment: the answer, or that it was cancelled, and nothing is left, as with_workers() checks.
TEST_P(resolver_test, cancellation_may_come_at_any_time) {
  with(from_zone({{"www.test", host_at("192.0.2.1")}}), [](name_server& one) {
    const resolver names(asking(one));
    for (int i = 0; i < 40; ++i) {
      outcome in_fiber, in_task;
      fiber f = spawn([&] { in_fiber = by_fiber(names, "www.test"); });
      auto t = spawn(resolve_in_task(names, "www.test", {}, in_task));
      for (int turns = 0; turns < i / 2; ++turns) this_fiber::yield();
      if (i > 30) this_fiber::sleep_for((i - 30) * 50us);
      f.request_stop();
      t.request_stop();
      f.join();
      t.join();
      for (const auto& r : {in_fiber, in_task}) {
        if (r.error)
          EXPECT_EQ(r.error, std::errc::operation_canceled) << r.error.message();
        else
          EXPECT_EQ(r.found, texts{"192.0.2.1:80"});
      }
    }
  });
}

TEST_P(resolver_test, many_ask_at_a_time) {
  zone z;
  constexpr int hosts = 50;
  for (int i = 0; i < hosts; ++i)
    z.emplace("h" + std::to_string(i) + ".test", host_at(("192.0.2." + std::to_string(i)).c_str()));
  with(from_zone(std::move(z)), [](name_server& one) {
    const resolver names(insisting(one));  // A burst may overflow the server's socket.
    std::vector<outcome> in_fibers(hosts), in_tasks(hosts);
    {
      scope s;
      for (std::size_t i = 0; i < hosts; ++i) {
        const auto host = "h" + std::to_string(i) + ".test";
        s.go([&, host, i] { in_fibers[i] = by_fiber(names, host); });
        go_in(s, resolve_in_task(names, host, {}, in_tasks[i]));
      }
      s.join();
    }
    for (std::size_t i = 0; i < hosts; ++i) {
      const texts expected{"192.0.2." + std::to_string(i) + ":80"};
      EXPECT_EQ(in_fibers[i].found, expected) << in_fibers[i].error.message();
      EXPECT_EQ(in_tasks[i].found, expected) << in_tasks[i].error.message();
    }
  });
}

// -----------------------------------------------------------------------------------------------------------------
// Connecting by name.

task<> connect_in_task(const resolver& names, std::string host, std::uint16_t port, std::string& peer,
                       std::error_code& error) {
  const auto stream = co_await async_connect(names, std::move(host), port, {}, error);
  peer = stream.remote_address();
}

// By a fiber and by a task.
void expect_connected(const resolver& names, const std::string& host, const tcp_listener& l) {
  std::error_code error;
  EXPECT_EQ(connect(names, host, l.local_port(), {}, error).remote_address(), here(l)) << error.message();
  std::string peer;
  spawn(connect_in_task(names, host, l.local_port(), peer, error)).join();
  EXPECT_EQ(peer, here(l)) << error.message();
}

TEST_P(resolver_test, connects_by_name) {
  with(from_zone({{"www.test", host_at("127.0.0.1")}, {"db.two.test", host_at("127.0.0.1")}}), [](name_server& one) {
    auto o = asking(one);
    o.search_domains = texts{"one.test", "two.test"};
    const resolver names(o);
    const auto l = tcp_listener::bind("127.0.0.1:0");
    for (const auto* host : {"www.test", "www.test.", "127.0.0.1", "db"}) expect_connected(names, host, l);
    o.search_domains = texts{"test"};
    expect_connected(resolver(o), "db.two", l);  // Not there as it is, but found by searching.
  });
}

// The half of the queries that asks for IPv6 is never answered, as by some broken middle boxes.
TEST_P(resolver_test, ipv4_is_connected_to_while_ipv6_is_unknown) {
  with([](const query& q, int) { return reply{.records = {host_at("127.0.0.1")}, .lost = q.kind == aaaa}; },
       [](name_server& one) {
         const auto l = tcp_listener::bind("127.0.0.1:0");
         expect_connected(resolver(asking(one)), "www.test", l);
       });
}

TEST_P(resolver_test, connecting_tells_what_failed) {
  with(from_zone({{"www.test", host_at("127.0.0.1")}}), [](name_server& one) {
    const resolver names(asking(one));
    auto l = tcp_listener::bind("127.0.0.1:0");
    const auto port = l.local_port();
    l.close();
    std::string said;
    try {
      connect(names, "www.test", port);
    } catch (const std::system_error& e) {
      said = e.what();
    }
    const auto number = std::to_string(port);
    EXPECT_EQ(said, "thrum: cannot connect to www.test:" + number + " (127.0.0.1:" + number +
                        ": Connection refused): Connection refused");
    EXPECT_EQ(code_of([&] { connect(names, "nowhere.test", 1); }), dns_errc::no_such_host);
    EXPECT_EQ(code_of([&] { connect(names, "", 1); }), dns_errc::bad_name);
    std::string peer;
    std::error_code error;
    spawn(connect_in_task(names, "nowhere.test", 1, peer, error)).join();
    EXPECT_EQ(error, dns_errc::no_such_host);
  });
}

TEST_P(resolver_test, connecting_can_be_cancelled_and_limited) {
  with(always({.lost = true}), [](name_server& one) {
    const resolver names(asking(one));
    EXPECT_EQ(code_of([&] { connect(names, "www.test", 1, {.timeout = 5ms}); }), std::errc::timed_out);
    std::error_code in_fiber, in_task;
    std::string peer;
    fiber f = spawn([&] { connect(names, "www.test", 1, {}, in_fiber); });
    auto t = spawn(connect_in_task(names, "www.test", 1, peer, in_task));
    EXPECT_TRUE(eventually([&] { return one.asked >= 6; }));
    f.request_stop();
    t.request_stop();
    f.join();
    t.join();
    EXPECT_EQ(in_fiber, std::errc::operation_canceled);
    EXPECT_EQ(in_task, std::errc::operation_canceled);
  });
}

}  // namespace
}  // namespace thrum::net
