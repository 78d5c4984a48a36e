// The peer of the client libraries' blocking calls: a thread for each connection.
#include <latch>
#include <thread>

#include "../../clients.hpp"

namespace {

template <class Connect, class Ask, class Close>
void ask_on(const char* suffix, long n, long each, Connect connect, Ask ask, Close close) {
  std::latch connected(n + 1), begin(1), answered(n + 1), end(1);
  std::vector<std::thread> all;
  for (long i = 0; i < n; ++i)
    all.emplace_back([&, i] {
      auto* c = connect();
      ask(c, i);
      connected.arrive_and_wait();
      begin.wait();
      for (long k = 0; k < each; ++k) ask(c, i + k);
      answered.count_down();
      end.wait();
      close(c);
    });
  connected.arrive_and_wait();
  const double threads = bench::os_threads();
  bench::totals sum;
  sum.begin();
  begin.count_down();
  answered.arrive_and_wait();
  sum.end(suffix, n * each, threads);
  end.count_down();
  for (auto& t : all) t.join();
}

}  // namespace

int main(int argc, char** argv) {
  const auto o = bench::parse(argc, argv);
  bench::raise_file_limit();
  if (o.kind == "postgres")
    ask_on("postgres", bench::postgres_connections, o.scaled(100), bench::connect_postgres, bench::ask_sum, PQfinish);
  else if (o.kind == "redis")
    ask_on("redis", bench::redis_connections, o.scaled(20), bench::connect_redis, bench::ask_echo, redisFree);
  else
    bench::fail("The client-threads peer does not offer '" + o.kind + "'.", bench::exit_not_offered);
}
