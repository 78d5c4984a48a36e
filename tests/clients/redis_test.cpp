// hiredis' blocking calls in fibers, against a Redis of our own.
#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <hiredis/hiredis.h>
#include <sys/time.h>

#include "client_support.hpp"

namespace thrum {
namespace {

using namespace test;

struct redis {
  static constexpr auto server = "redis";
  static void prepare(private_servers&) {}
};

struct finish {
  void operator()(redisContext* c) const { redisFree(c); }
  void operator()(redisReply* r) const { freeReplyObject(r); }
};
using connection = std::unique_ptr<redisContext, finish>;
using reply = std::unique_ptr<redisReply, finish>;

class redis_test : public server_test<redis> {
 protected:
  static int port() { return std::stoi(servers()["REDIS_PORT"]); }
  static connection connected() {
    connection c(redisConnect("127.0.0.1", port()));
    EXPECT_TRUE(c && c->err == 0) << (c ? c->errstr : "no memory");
    return c;
  }
};
INSTANTIATE_TEST_SUITE_P(workers, redis_test, worker_counts, count_name);

template <class... A>
reply ask(const connection& c, const char* format, A... a) {
  return reply(static_cast<redisReply*>(redisCommand(c.get(), format, a...)));
}
template <class... A>
long long number(const connection& c, const char* format, A... a) {
  const auto r = ask(c, format, a...);
  EXPECT_TRUE(r && r->type == REDIS_REPLY_INTEGER) << format << ": " << c->errstr;
  return r ? r->integer : -1;
}
template <class... A>
std::string text(const connection& c, const char* format, A... a) {
  const auto r = ask(c, format, a...);
  EXPECT_TRUE(r && (r->type == REDIS_REPLY_STRING || r->type == REDIS_REPLY_STATUS)) << format << ": " << c->errstr;
  return r ? std::string(r->str, r->len) : "";
}

// Until so many clients wait for an element.
void until_blocked(const connection& c, int n) {
  const auto told = "blocked_clients:" + std::to_string(n) + "\r\n";
  EXPECT_TRUE(eventually([&] { return text(c, "INFO clients").find(told) != std::string::npos; }));
}

TEST_P(redis_test, a_thousand_fibers_each_with_a_connection_count) {
  run([&] {
    constexpr int many = 1000, each = 5;
    const auto c = connected();
    ask(c, "DEL counter");
    latch connected_all(many);
    in_fibers(many, [&](int i) {
      const auto own = connected();
      connected_all.arrive_and_wait();
      for (int n = 0; n < each; ++n) EXPECT_GT(number(own, "INCR counter"), 0);
      if (i % 100 == 0) expect_few_threads();
    });
    EXPECT_EQ(text(c, "GET counter"), std::to_string(many * each));
  });
}

TEST_P(redis_test, who_waits_for_an_element_keeps_no_thread) {
  run([&] {
    constexpr int many = 200;
    const auto c = connected();
    guarded<std::set<std::string>> got;
    scope waiting;
    for (int i = 0; i < many; ++i)
      waiting.go([&] {
        const connection own(redisConnectUnix(servers()["REDIS_SOCKET"].c_str()));
        const auto r = ask(own, "BLPOP queue 0");
        ASSERT_TRUE(r && r->elements == 2) << own->errstr;
        got.lock()->insert(r->element[1]->str);
      });
    until_blocked(c, many);
    expect_few_threads();
    for (int i = 0; i < many; ++i) number(c, "RPUSH queue %d", i);
    waiting.join();
    EXPECT_EQ(got.lock()->size(), std::size_t{many});
  });
}

TEST_P(redis_test, pipelines_keep_their_order) {
  run([&] {
    in_fibers(20, [&](int i) {
      constexpr int commands = 500;
      const auto c = connected();
      const std::string large(10'000, static_cast<char>('a' + i));
      for (int n = 0; n < commands; ++n) redisAppendCommand(c.get(), "ECHO %d-%s", n, large.c_str());
      for (int n = 0; n < commands; ++n) {
        void* raw = nullptr;
        ASSERT_EQ(redisGetReply(c.get(), &raw), REDIS_OK) << c->errstr;
        const reply r(static_cast<redisReply*>(raw));
        ASSERT_EQ(std::string(r->str, r->len), std::to_string(n) + "-" + large);
      }
    });
  });
}

TEST_P(redis_test, time_limits_hold_as_hiredis_reports_them) {
  run([&] {
    in_fibers(50, [&](int) {
      const auto c = connected();
      ASSERT_EQ(redisSetTimeout(c.get(), timeval{0, 20'000}), REDIS_OK);
      const auto r = ask(c, "BLPOP nothing 0");
      EXPECT_EQ(r, nullptr);
      EXPECT_EQ(c->err, REDIS_ERR_IO);
      EXPECT_EQ(c->errstr, message_of(EAGAIN));
      ASSERT_EQ(redisReconnect(c.get()), REDIS_OK) << c->errstr;
      EXPECT_EQ(text(c, "PING"), "PONG");
    });
  });
}

TEST_P(redis_test, connecting_to_nobody_times_out) {
  run([&] {
    const silent_listener nobody;
    in_fibers(50, [&](int) {
      const connection c(redisConnectWithTimeout("127.0.0.1", nobody.port(), timeval{0, 30'000}));
      ASSERT_NE(c, nullptr);
      EXPECT_EQ(c->err, REDIS_ERR_IO);
      EXPECT_EQ(c->errstr, message_of(ETIMEDOUT));
    });
  });
}

TEST_P(redis_test, who_listens_hears_all_that_is_published) {
  run([&] {
    constexpr int listeners = 20, messages = 50;
    latch listening(listeners);
    scope all;
    for (int i = 0; i < listeners; ++i)
      all.go([&] {
        const auto c = connected();
        const auto subscribed = ask(c, "SUBSCRIBE news");
        listening.count_down();
        for (int n = 0; n < messages; ++n) {
          void* raw = nullptr;
          ASSERT_EQ(redisGetReply(c.get(), &raw), REDIS_OK) << c->errstr;
          const reply r(static_cast<redisReply*>(raw));
          ASSERT_STREQ(r->element[2]->str, std::to_string(n).c_str());
        }
      });
    listening.wait();
    const auto c = connected();
    for (int n = 0; n < messages; ++n) EXPECT_EQ(number(c, "PUBLISH news %d", n), listeners);
    all.join();
  });
}

TEST_P(redis_test, a_scope_that_is_cancelled_ends_a_command) {
  run([&] {
    const auto c = connected();
    scope s;
    s.go([&] {
      const auto own = connected();
      EXPECT_EQ(ask(own, "BLPOP nothing 0"), nullptr);
      EXPECT_EQ(own->err, REDIS_ERR_IO);
      EXPECT_EQ(own->errstr, message_of(ECANCELED));
    });
    until_blocked(c, 1);
    s.cancel();
    s.join();
  });
}

TEST_P(redis_test, a_connection_that_is_cut_fails_alone) {
  run([&] {
    const auto c = connected();
    const auto cut = connected(), spared = connected();
    const auto id = number(cut, "CLIENT ID");
    scope both;
    both.go([&] {
      EXPECT_EQ(ask(cut, "BLPOP queue 0"), nullptr);
      EXPECT_EQ(cut->err, REDIS_ERR_EOF);
    });
    both.go([&] { EXPECT_NE(ask(spared, "BLPOP queue 0"), nullptr); });
    until_blocked(c, 2);
    EXPECT_EQ(number(c, "CLIENT KILL ID %lld", id), 1);
    until_blocked(c, 1);
    number(c, "RPUSH queue element");
    both.join();
  });
}

TEST_P(redis_test, a_server_that_is_restarted_ends_all_waits_and_can_be_asked_again) {
  run([&] {
    constexpr int many = 100;
    const auto c = connected();
    std::atomic<int> ended{0}, back{0};
    event up;
    scope all;
    for (int i = 0; i < many; ++i)
      all.go([&] {
        const auto own = connected();
        ended += ask(own, "BLPOP nothing 0") == nullptr && own->err == REDIS_ERR_EOF;
        up.wait();
        back += redisReconnect(own.get()) == REDIS_OK && text(own, "PING") == "PONG";
      });
    until_blocked(c, many);
    servers().stop("redis");
    EXPECT_TRUE(eventually([&] { return ended == many; }));
    const connection refused(redisConnect("127.0.0.1", port()));
    EXPECT_EQ(refused->err, REDIS_ERR_IO);
    EXPECT_EQ(refused->errstr, message_of(ECONNREFUSED));
    servers().start("redis");
    up.set();
    all.join();
    EXPECT_EQ(back, many);
  });
}

}  // namespace
}  // namespace thrum
