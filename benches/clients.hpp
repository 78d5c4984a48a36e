// What the benches of client libraries ask, once for fibers, threads and event loops: the servers' addresses, which the
// driver puts into the environment, one question each to libpq and hiredis in blocking style, and the totals.
#pragma once
#include <hiredis/hiredis.h>
#include <libpq-fe.h>

#include <atomic>
#include <filesystem>
#include <string>

#include "bench.hpp"

namespace bench {

constexpr long sleeps = 1000, sleep_connections = 100;  // Each of 100 ms, so ten times 100 at once.
constexpr long redis_connections = 1000;
// As many as PostgreSQL has processes for; tools/private_servers asks for a few more.
constexpr long postgres_connections = 200;

inline std::string environment(const char* name) {
  const char* value = std::getenv(name);
  if (!value) fail(std::string(name) + " is not set: tools/private_servers says what it is.");
  return value;
}

inline std::string postgres_address() {
  return "host=" + environment("PGHOST") + " port=" + environment("PGPORT") + " user=" + environment("PGUSER") +
         " dbname=" + environment("PGDATABASE") + " sslmode=disable gssencmode=disable";
}

inline PGconn* connect_postgres() {
  PGconn* c = PQconnectdb(postgres_address().c_str());
  if (PQstatus(c) != CONNECTION_OK) fail(PQerrorMessage(c), 1);
  return c;
}

constexpr const char* sleep_query = "select pg_sleep(0.1)";
constexpr const char* sum_query = "select $1::int + 1";

inline void check_slept(PGresult* r) {
  if (PQresultStatus(r) != PGRES_TUPLES_OK || PQntuples(r) != 1) fail("PostgreSQL did not sleep.", 1);
}
inline void check_sum(PGresult* r, long i) {
  if (PQresultStatus(r) != PGRES_TUPLES_OK || std::to_string(i + 1) != PQgetvalue(r, 0, 0))
    fail("PostgreSQL added wrongly.", 1);
}

inline void sleep_in(PGconn* c) {
  PGresult* r = PQexec(c, sleep_query);
  check_slept(r);
  PQclear(r);
}
inline void ask_sum(PGconn* c, long i) {
  const std::string text = std::to_string(i);
  const char* const values[] = {text.c_str()};
  PGresult* r = PQexecParams(c, sum_query, 1, nullptr, values, nullptr, nullptr, 0);
  check_sum(r, i);
  PQclear(r);
}

inline redisContext* connect_redis() {
  redisContext* c = redisConnectUnix(environment("REDIS_SOCKET").c_str());
  if (!c || c->err) fail("Redis cannot be reached.", 1);
  return c;
}
inline void check_echo(void* reply, long i) {
  const auto* r = static_cast<redisReply*>(reply);
  if (!r || r->type != REDIS_REPLY_STRING || std::to_string(i) != r->str) fail("Redis answered wrongly.", 1);
}
inline void ask_echo(redisContext* c, long i) {
  void* r = redisCommand(c, "ECHO %ld", i);
  check_echo(r, i);
  freeReplyObject(r);
}

inline double os_threads() {
  const std::filesystem::directory_iterator all("/proc/self/task");
  return double(std::distance(begin(all), end(all)));
}

// From begin(), when all are connected, to end(): the time, and what this process has used of its cores.
class totals {
 public:
  void begin() {
    cpu_ = cpu_seconds();
    start_ = now_ns();
  }
  void end(std::string_view suffix, long operations, double threads) const {
    const double seconds = (now_ns() - start_) * 1e-9;
    report(suffix, "ms", seconds * 1e3, "ms");
    report(suffix, "ops_s", double(operations) / seconds, "ops/s");
    report(suffix, "cpu_us_op", (cpu_seconds() - cpu_) * 1e6 / double(operations), "us");
    report(suffix, "threads", threads, "threads");
  }

 private:
  double cpu_ = 0, start_ = 0;
};

}  // namespace bench
