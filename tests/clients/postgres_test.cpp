// libpq's blocking calls in fibers, against a PostgreSQL of our own.
#include <atomic>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <libpq-fe.h>
#include <poll.h>

#include "client_support.hpp"

namespace thrum {
namespace {

using namespace test;

struct postgres {
  static constexpr auto server = "postgres";
  static void prepare(private_servers&) {}
};
class postgres_test : public server_test<postgres> {
 protected:
  static std::string address() {
    return "host=" + servers()["PGHOST"] + " port=" + servers()["PGPORT"] + " user=" + servers()["PGUSER"] +
           " dbname=" + servers()["PGDATABASE"] + " sslmode=disable gssencmode=disable";
  }
};
INSTANTIATE_TEST_SUITE_P(workers, postgres_test, worker_counts, count_name);

struct finish {
  void operator()(PGconn* c) const { PQfinish(c); }
  void operator()(PGresult* r) const { PQclear(r); }
  void operator()(PGcancel* c) const { PQfreeCancel(c); }
  void operator()(PGnotify* n) const { PQfreemem(n); }
};
using connection = std::unique_ptr<PGconn, finish>;
using result = std::unique_ptr<PGresult, finish>;

connection connect_to(const std::string& address) {
  connection c(PQconnectdb(address.c_str()));
  EXPECT_EQ(PQstatus(c.get()), CONNECTION_OK) << PQerrorMessage(c.get());
  return c;
}

std::string error_of(const connection& c) { return PQerrorMessage(c.get()); }

result ask(const connection& c, const std::string& query) { return result(PQexec(c.get(), query.c_str())); }

std::string value(const result& r) {
  EXPECT_EQ(PQresultStatus(r.get()), PGRES_TUPLES_OK) << PQresultErrorMessage(r.get());
  return PQntuples(r.get()) == 1 ? PQgetvalue(r.get(), 0, 0) : "";
}
std::string value(const connection& c, const std::string& query) { return value(ask(c, query)); }

void command(const connection& c, const std::string& query) {
  const auto r = ask(c, query);
  EXPECT_EQ(PQresultStatus(r.get()), PGRES_COMMAND_OK) << query << ": " << PQresultErrorMessage(r.get());
}

std::string sqlstate(const result& r) {
  const char* const state = PQresultErrorField(r.get(), PG_DIAG_SQLSTATE);
  return state != nullptr ? state : "";
}

// A pool as one writes it: who wants a connection waits until there is one.
class pool {
 public:
  pool(const std::string& address, int n) : idle_(static_cast<std::size_t>(n)) {
    in_fibers(n, [&](int) { idle_.send(connect_to(address)); });
  }
  template <class F>
  void with(F f) {
    auto c = *idle_.receive();
    f(c);
    idle_.send(std::move(c));
  }

 private:
  channel<connection> idle_;
};

// Until so many of the server's sessions wait for a lock.
void until_waiting_for_locks(const connection& c, int n) {
  EXPECT_TRUE(
      eventually([&] { return value(c, "select count(*) from pg_locks where not granted") == std::to_string(n); }));
}

TEST_P(postgres_test, who_waits_for_an_answer_keeps_no_thread) {
  run([&] {
    constexpr int many = 100;
    const auto holder = connect_to(address());
    EXPECT_EQ(value(holder, "select pg_advisory_lock(1)"), "");
    std::atomic<int> inside{0}, most_inside{0};
    scope waiting;
    for (int i = 0; i < many; ++i)
      waiting.go([&] {
        const auto c = connect_to(address());
        EXPECT_EQ(value(c, "select pg_advisory_lock(1)"), "");
        most_inside = std::max(most_inside.load(), ++inside);
        EXPECT_EQ(value(c, "select 6 * 7"), "42");
        --inside;
        EXPECT_EQ(value(c, "select pg_advisory_unlock(1)"), "t");
      });
    until_waiting_for_locks(holder, many);
    expect_few_threads();
    EXPECT_EQ(value(holder, "select pg_advisory_unlock(1)"), "t");
    waiting.join();
    EXPECT_EQ(most_inside, 1);
  });
}

TEST_P(postgres_test, a_thousand_fibers_share_some_connections) {
  run([&] {
    pool connections(address(), 20);
    std::atomic<long> sum{0};
    in_fibers(1000, [&](int i) {
      connections.with([&](const connection& c) { sum += std::stol(value(c, "select " + std::to_string(i))); });
    });
    EXPECT_EQ(sum, 999L * 1000 / 2);
  });
}

TEST_P(postgres_test, parameters_and_binary_results_cross_whole) {
  run([&] {
    in_fibers(8, [&](int i) {
      const auto c = connect_to(address());
      std::string much(1'000'000 + static_cast<std::size_t>(i), '\0');
      for (std::size_t at = 0; at < much.size(); ++at) much[at] = static_cast<char>(at * 31 + static_cast<unsigned>(i));
      const char* const values[] = {much.data()};
      const int lengths[] = {static_cast<int>(much.size())}, formats[] = {1};
      const result r(PQexecParams(c.get(), "select $1::bytea", 1, nullptr, values, lengths, formats, 1));
      ASSERT_EQ(PQresultStatus(r.get()), PGRES_TUPLES_OK) << PQerrorMessage(c.get());
      ASSERT_EQ(PQgetlength(r.get(), 0, 0), lengths[0]);
      EXPECT_EQ(std::memcmp(PQgetvalue(r.get(), 0, 0), much.data(), much.size()), 0);
    });
  });
}

TEST_P(postgres_test, copies_in_and_out) {
  run([&] {
    in_fibers(4, [&](int i) {
      constexpr int rows = 20'000;
      const auto c = connect_to(address());
      command(c, "create temporary table copied (n int, text text)");
      ASSERT_EQ(PQresultStatus(ask(c, "copy copied from stdin").get()), PGRES_COPY_IN);
      for (int n = 0; n < rows; ++n) {
        const auto row = std::to_string(n) + "\trow of fiber " + std::to_string(i) + "\n";
        ASSERT_EQ(PQputCopyData(c.get(), row.data(), static_cast<int>(row.size())), 1);
      }
      ASSERT_EQ(PQputCopyEnd(c.get(), nullptr), 1);
      EXPECT_EQ(PQresultStatus(result(PQgetResult(c.get())).get()), PGRES_COMMAND_OK);
      EXPECT_EQ(PQgetResult(c.get()), nullptr);

      ASSERT_EQ(PQresultStatus(ask(c, "copy copied to stdout").get()), PGRES_COPY_OUT);
      long sum = 0;
      char* row = nullptr;
      while (PQgetCopyData(c.get(), &row, 0) > 0) {
        sum += std::stol(row);
        PQfreemem(row);
      }
      EXPECT_EQ(sum, long{rows} * (rows - 1) / 2);
      EXPECT_EQ(PQresultStatus(result(PQgetResult(c.get())).get()), PGRES_COMMAND_OK);
    });
  });
}

// As libpq's manual says: select or poll on the socket, then PQconsumeInput.
std::string next_notification(const connection& c) {
  for (;;) {
    if (const std::unique_ptr<PGnotify, finish> n{PQnotifies(c.get())}) return n->extra;
    pollfd p{PQsocket(c.get()), POLLIN, 0};
    EXPECT_EQ(::poll(&p, 1, -1), 1);
    if (PQconsumeInput(c.get()) != 1) return PQerrorMessage(c.get());
  }
}

TEST_P(postgres_test, notifications_arrive_in_order) {
  run([&] {
    constexpr int listeners = 100, each = 5;
    latch listening(listeners);
    scope all;
    for (int i = 0; i < listeners; ++i)
      all.go([&] {
        const auto c = connect_to(address());
        command(c, "listen news");
        listening.count_down();
        for (int n = 0; n < each; ++n) EXPECT_EQ(next_notification(c), std::to_string(n));
      });
    listening.wait();
    settle();
    expect_few_threads();
    const auto c = connect_to(address());
    for (int n = 0; n < each; ++n) command(c, "notify news, '" + std::to_string(n) + "'");
    all.join();
  });
}

TEST_P(postgres_test, time_limits_of_the_server_and_cancel_requests_end_a_query) {
  run([&] {
    const auto holder = connect_to(address());
    EXPECT_EQ(value(holder, "select pg_advisory_lock(2)"), "");
    const auto limited = connect_to(address());
    command(limited, "set statement_timeout = 20");
    EXPECT_EQ(sqlstate(ask(limited, "select pg_advisory_lock(2)")), "57014");

    const auto cancelled = connect_to(address());
    const std::unique_ptr<PGcancel, finish> cancel{PQgetCancel(cancelled.get())};
    fiber asking = spawn([&] { EXPECT_EQ(sqlstate(ask(cancelled, "select pg_advisory_lock(2)")), "57014"); });
    until_waiting_for_locks(holder, 1);
    std::array<char, 256> error{};
    EXPECT_EQ(PQcancel(cancel.get(), error.data(), int{error.size()}), 1) << error.data();
    asking.join();
    EXPECT_EQ(value(cancelled, "select 1"), "1");
  });
}

TEST_P(postgres_test, a_scope_that_is_cancelled_ends_a_query) {
  run([&] {
    const auto holder = connect_to(address());
    EXPECT_EQ(value(holder, "select pg_advisory_lock(3)"), "");
    scope s;
    s.go([&] {
      const auto c = connect_to(address());
      const auto r = ask(c, "select pg_advisory_lock(3)");
      EXPECT_EQ(PQresultStatus(r.get()), PGRES_FATAL_ERROR);
      EXPECT_NE(error_of(c).find(message_of(ECANCELED)), std::string::npos) << PQerrorMessage(c.get());
    });
    until_waiting_for_locks(holder, 1);
    s.cancel();
    s.join();
  });
}

TEST_P(postgres_test, a_connection_that_is_cut_fails_alone) {
  run([&] {
    const auto holder = connect_to(address());
    EXPECT_EQ(value(holder, "select pg_advisory_lock(4)"), "");
    const auto cut = connect_to(address()), spared = connect_to(address());
    scope both;
    both.go([&] {
      EXPECT_EQ(PQresultStatus(ask(cut, "select pg_advisory_lock(4)").get()), PGRES_FATAL_ERROR);
      EXPECT_NE(error_of(cut).find("terminating connection"), std::string::npos) << error_of(cut);
      EXPECT_EQ(PQstatus(cut.get()), CONNECTION_BAD);
    });
    both.go([&] { EXPECT_EQ(value(spared, "select pg_advisory_lock(4)"), ""); });
    until_waiting_for_locks(holder, 2);
    EXPECT_EQ(value(holder, "select pg_terminate_backend(" + std::to_string(PQbackendPID(cut.get())) + ")"), "t");
    until_waiting_for_locks(holder, 1);
    EXPECT_EQ(value(holder, "select pg_advisory_unlock(4)"), "t");
    both.join();
    PQreset(cut.get());
    EXPECT_EQ(value(cut, "select 1"), "1");
  });
}

TEST_P(postgres_test, a_server_that_is_killed_ends_all_waits_and_can_be_asked_again) {
  run([&] {
    constexpr int many = 40;
    const auto holder = connect_to(address());
    EXPECT_EQ(value(holder, "select pg_advisory_lock(5)"), "");
    std::atomic<int> failed{0}, back{0};
    event up;
    scope all;
    for (int i = 0; i < many; ++i)
      all.go([&] {
        const auto c = connect_to(address());
        failed += PQresultStatus(ask(c, "select pg_advisory_lock(5)").get()) == PGRES_FATAL_ERROR &&
                  PQstatus(c.get()) == CONNECTION_BAD;
        up.wait();
        PQreset(c.get());
        back += value(c, "select 1") == "1";
      });
    until_waiting_for_locks(holder, many);
    servers().kill("postgres");
    EXPECT_TRUE(eventually([&] { return failed == many; }));
    const connection refused(PQconnectdb(address().c_str()));
    EXPECT_EQ(PQstatus(refused.get()), CONNECTION_BAD);
    servers().start("postgres");
    up.set();
    all.join();
    EXPECT_EQ(back, many);
  });
}

TEST_P(postgres_test, connecting_to_nobody_times_out) {
  run([&] {
    const silent_listener nobody;
    in_fibers(20, [&](int) {
      const connection c(PQconnectdb(
          ("host=127.0.0.1 connect_timeout=2 sslmode=disable port=" + std::to_string(nobody.port())).c_str()));
      EXPECT_EQ(PQstatus(c.get()), CONNECTION_BAD);
      EXPECT_NE(error_of(c).find("timeout expired"), std::string::npos) << PQerrorMessage(c.get());
    });
  });
}

}  // namespace
}  // namespace thrum
