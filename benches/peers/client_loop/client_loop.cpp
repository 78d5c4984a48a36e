// The yardstick for client libraries: libpq's asynchronous interface, and hiredis' non-blocking one, in a hand-written
// loop. One thread, one epoll, level-triggered; each connection is registered once, for reading.
#include <sys/epoll.h>
#include <unistd.h>

#include "../../clients.hpp"

namespace {

class loop {
 public:
  void watch(int fd, std::uint64_t which) {
    epoll_event e{.events = EPOLLIN, .data = {.u64 = which}};
    if (epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &e) != 0) bench::fail("epoll_ctl refused a descriptor.", 1);
  }
  // on_readable(which), until `left` is 0.
  template <class F>
  void run(const long& left, F on_readable) {
    epoll_event events[512];
    while (left > 0) {
      const int n = epoll_wait(epoll_, events, 512, -1);
      for (int i = 0; i < n; ++i) on_readable(events[i].data.u64);
    }
  }

 private:
  int epoll_ = epoll_create1(EPOLL_CLOEXEC);
};

struct postgres_client {
  PGconn* connection;
  long asked = 0;
  long done = 0;
};

void sent(const postgres_client& c, int ok) {
  // What is asked here fits into any socket's buffer.
  if (ok != 1 || PQflush(c.connection) != 0) bench::fail(PQerrorMessage(c.connection), 1);
}

// check(client, result) for each result, and then what next(client) does.
template <class Check, class Next>
void serve(postgres_client& c, Check check, Next next) {
  if (PQconsumeInput(c.connection) != 1) bench::fail(PQerrorMessage(c.connection), 1);
  while (!PQisBusy(c.connection)) {
    PGresult* r = PQgetResult(c.connection);
    if (!r) return next(c);
    check(c, r);
    PQclear(r);
  }
}

std::vector<postgres_client> connect_clients(loop& l, long n) {
  std::vector<postgres_client> all;
  for (long i = 0; i < n; ++i) {
    all.push_back({bench::connect_postgres()});
    PQsetnonblocking(all.back().connection, 1);
    l.watch(PQsocket(all.back().connection), std::uint64_t(i));
  }
  return all;
}

void sleep() {
  loop l;
  auto clients = connect_clients(l, bench::sleep_connections);
  long unasked = bench::sleeps, left = bench::sleeps;
  const auto ask = [&](postgres_client& c) {
    if (unasked > 0) --unasked, sent(c, PQsendQuery(c.connection, bench::sleep_query));
  };
  bench::totals sum;
  sum.begin();
  for (auto& c : clients) ask(c);
  l.run(left, [&](std::uint64_t which) {
    serve(
        clients[which], [](const postgres_client&, PGresult* r) { bench::check_slept(r); },
        [&](postgres_client& c) {
          --left;
          ask(c);
        });
  });
  sum.end("sleep", bench::sleeps, bench::os_threads());
}

void postgres(long each) {
  loop l;
  auto clients = connect_clients(l, bench::postgres_connections);
  const auto ask = [](postgres_client& c) {
    const std::string text = std::to_string(c.asked);
    const char* const values[] = {text.c_str()};
    sent(c, PQsendQueryParams(c.connection, bench::sum_query, 1, nullptr, values, nullptr, nullptr, 0));
  };
  const auto check = [](const postgres_client& c, PGresult* r) { bench::check_sum(r, c.asked); };
  const auto all_ask = [&](long times) {
    long left = bench::postgres_connections * times;
    for (auto& c : clients) c.done = 0, ask(c);
    l.run(left, [&](std::uint64_t which) {
      serve(clients[which], check, [&](postgres_client& c) {
        --left;
        ++c.asked;
        if (++c.done < times) ask(c);
      });
    });
  };
  all_ask(1);
  bench::totals sum;
  sum.begin();
  all_ask(each);
  sum.end("postgres", bench::postgres_connections * each, bench::os_threads());
}

struct redis_client {
  redisContext* connection;
  long asked = 0;
  long done = 0;
};

void ask(redis_client& c) {
  redisAppendCommand(c.connection, "ECHO %ld", c.asked);
  int done = 0;
  if (redisBufferWrite(c.connection, &done) != REDIS_OK || !done) bench::fail("A command does not fit.", 1);
}

void redis(long each) {
  loop l;
  std::vector<redis_client> clients;
  for (long i = 0; i < bench::redis_connections; ++i) {
    clients.push_back({redisConnectUnixNonBlock(bench::environment("REDIS_SOCKET").c_str())});
    if (!clients.back().connection || clients.back().connection->err) bench::fail("Redis cannot be reached.", 1);
    l.watch(clients.back().connection->fd, std::uint64_t(i));
  }
  const auto all_ask = [&](long times) {
    long left = bench::redis_connections * times;
    for (auto& c : clients) c.done = 0, ask(c);
    l.run(left, [&](std::uint64_t which) {
      auto& c = clients[which];
      if (redisBufferRead(c.connection) != REDIS_OK) bench::fail(c.connection->errstr, 1);
      void* reply = nullptr;
      while (redisGetReplyFromReader(c.connection, &reply) == REDIS_OK && reply) {
        bench::check_echo(reply, c.asked++);
        freeReplyObject(reply);
        --left;
        if (++c.done < times) ask(c);
      }
    });
  };
  all_ask(1);
  bench::totals sum;
  sum.begin();
  all_ask(each);
  sum.end("redis", bench::redis_connections * each, bench::os_threads());
}

}  // namespace

int main(int argc, char** argv) {
  const auto o = bench::parse(argc, argv);
  bench::raise_file_limit();
  if (o.kind == "sleep")
    sleep();
  else if (o.kind == "postgres")
    postgres(o.scaled(100));
  else if (o.kind == "redis")
    redis(o.scaled(20));
  else
    bench::fail("The client-loop peer does not offer '" + o.kind + "'.", bench::exit_not_offered);
}
