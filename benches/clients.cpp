// clients: libpq's and hiredis' blocking calls in fibers, through interposition; a fiber for each connection, and for
// sleep a thousand fibers that share a hundred.
#include <thrum/thrum.hpp>

#include "clients.hpp"
#include "thrum_bench.hpp"

namespace {

using bench::options;

void sleep(const options&) {
  thrum::channel<PGconn*> idle(bench::sleep_connections);
  for (long i = 0; i < bench::sleep_connections; ++i) idle.send(bench::connect_postgres());
  std::atomic<double> threads = 0;
  bench::totals all;
  all.begin();
  auto fibers = bench::start(bench::sleeps, [&](long i) {
    PGconn* c = *idle.receive();
    bench::sleep_in(c);
    if (i == bench::sleeps / 2) threads = bench::os_threads();
    idle.send(c);
  });
  bench::join(fibers);
  all.end("sleep", bench::sleeps, threads);
  for (long i = 0; i < bench::sleep_connections; ++i) PQfinish(*idle.receive());
}

// Each of n fibers asks its own connection again and again.
template <class Connect, class Ask, class Close>
void ask_on(const char* suffix, long n, long each, Connect connect, Ask ask, Close close) {
  thrum::latch connected(n + 1), begin(1), answered(n + 1), end(1);
  std::atomic<double> threads = 0;
  auto fibers = bench::start(n, [&](long i) {
    auto* c = connect();
    ask(c, i);
    connected.arrive_and_wait();
    begin.wait();
    for (long k = 0; k < each; ++k) ask(c, i + k);
    if (i == 0) threads = bench::os_threads();
    answered.count_down();
    end.wait();
    close(c);
  });
  connected.arrive_and_wait();
  bench::totals all;
  all.begin();
  begin.count_down();
  answered.arrive_and_wait();
  all.end(suffix, n * each, threads);
  end.count_down();
  bench::join(fibers);
}

void run(const options& o) {
  if (o.kind == "sleep") return sleep(o);
  if (o.kind == "postgres")
    return ask_on("postgres", bench::postgres_connections, o.scaled(100), bench::connect_postgres, bench::ask_sum,
                  PQfinish);
  if (o.kind == "redis")
    return ask_on("redis", bench::redis_connections, o.scaled(20), bench::connect_redis, bench::ask_echo, redisFree);
  bench::fail("--kind is sleep, postgres or redis.");
}

}  // namespace

int main(int argc, char** argv) {
  bench::raise_file_limit();
  return bench::in_runtime(argc, argv, run);
}
