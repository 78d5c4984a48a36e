// A service over HTTP whose answers come from PostgreSQL, with a cache in Redis: plain blocking code, libpq and hiredis
// as they are; a fiber for each connection, a few connections to the servers for all of them.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <thrum/thrum.hpp>
#include <vector>

#include <hiredis/hiredis.h>
#include <libpq-fe.h>

namespace {

struct release {
  void operator()(PGconn* c) const { PQfinish(c); }
  void operator()(PGresult* r) const { PQclear(r); }
  void operator()(redisContext* c) const { redisFree(c); }
  void operator()(redisReply* r) const { freeReplyObject(r); }
};
using database = std::unique_ptr<PGconn, release>;
using cache = std::unique_ptr<redisContext, release>;
using reply = std::unique_ptr<redisReply, release>;

constexpr std::size_t connections = 8;
thrum::channel<database> databases(connections);  // Whoever needs one receives it, and sends it back.
thrum::channel<cache> caches(connections);
std::atomic<int> queries{0};

void connect_all() {
  for (std::size_t i = 0; i < connections; ++i) {
    database d(PQconnectdb(""));  // Where, say PGHOST and its like.
    if (PQstatus(d.get()) != CONNECTION_OK) throw std::runtime_error(PQerrorMessage(d.get()));
    cache c(redisConnectUnix(std::getenv("REDIS_SOCKET")));
    if (!c || c->err != 0) throw std::runtime_error("Redis cannot be reached");
    databases.send(std::move(d));
    caches.send(std::move(c));
  }
}

template <class... A>
reply ask_cache(const char* format, A... a) {
  auto c = *caches.receive();
  reply r(static_cast<redisReply*>(redisCommand(c.get(), format, a...)));
  caches.send(std::move(c));
  return r;
}

std::string square_from_database(const char* n) {
  auto d = *databases.receive();
  const std::unique_ptr<PGresult, release> r(
      PQexecParams(d.get(), "select ($1::int * $1::int)::text", 1, nullptr, &n, nullptr, nullptr, 0));
  databases.send(std::move(d));
  if (PQresultStatus(r.get()) != PGRES_TUPLES_OK) throw std::runtime_error(PQresultErrorMessage(r.get()));
  ++queries;
  return PQgetvalue(r.get(), 0, 0);
}

std::string square(const std::string& n) {
  if (const auto known = ask_cache("GET square:%s", n.c_str()); known && known->type == REDIS_REPLY_STRING)
    return known->str;
  const auto fresh = square_from_database(n.c_str());
  ask_cache("SET square:%s %s", n.c_str(), fresh.c_str());
  return fresh;
}

// GET /N, one request for each connection.
void answer(thrum::net::tcp_stream c) {
  thrum::net::buffered_reader in(c);
  const std::string request(in.read_line().value_or(""));
  while (const auto field = in.read_line())
    if (field->empty()) break;
  if (!request.starts_with("GET /")) return;
  const auto body = square(request.substr(5, request.find(' ', 5) - 5)) + "\n";
  const auto text = "HTTP/1.0 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  c.write_all(std::as_bytes(std::span(text)));
}

std::string get(const std::string& address, int n) {
  auto c = thrum::net::tcp_stream::connect(address);
  const auto request = "GET /" + std::to_string(n) + " HTTP/1.0\r\n\r\n";
  c.write_all(std::as_bytes(std::span(request)));
  thrum::net::buffered_reader in(c);
  std::string last;
  while (const auto line = in.read_line()) last = *line;
  return last;
}

int show() {
  connect_all();
  thrum::net::server server(thrum::net::tcp_listener::bind("127.0.0.1:0"), answer);
  thrum::fiber serving = thrum::spawn([&] { server.serve(); });
  const auto address = "127.0.0.1:" + std::to_string(server.listener().local_port());
  std::atomic<int> right{0};
  const auto ask = [&](int n) { right += get(address, n) == std::to_string(n * n); };
  const std::vector numbers{1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
  for (int round = 0; round < 30; ++round) thrum::for_each_concurrent(numbers, 10, ask);
  std::printf("%d right answers, %d queries\n", right.load(), queries.load());
  server.shutdown(std::chrono::seconds(5));
  return 0;
}

}  // namespace

int main() { return thrum::run(show); }
