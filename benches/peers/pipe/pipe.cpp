// The bare pipe peer: a process that writes back what it reads, over a pipe in each direction.
//
//   pipe process_call [--quick]
#include <sys/wait.h>
#include <unistd.h>

#include <array>

#include "../../bench.hpp"

namespace {

using block = std::array<char, 64>;

int from_there = -1, to_there = -1;

[[noreturn]] void echo(int in, int out) {
  block b;
  for (;;) {
    const ssize_t n = read(in, b.data(), b.size());
    if (n <= 0) _exit(0);
    if (write(out, b.data(), size_t(n)) != n) _exit(1);
  }
}

void start_other() {
  int there[2], back[2];
  if (pipe(there) != 0 || pipe(back) != 0) bench::fail("There are no pipes.", 1);
  const pid_t other = fork();
  if (other < 0) bench::fail("There is no process.", 1);
  if (other == 0) {
    close(there[1]);
    close(back[0]);
    echo(there[0], back[1]);
  }
  close(there[0]);
  close(back[1]);
  to_there = there[1];
  from_there = back[0];
}

void round_trips(long n) {
  block sent{}, got{};
  for (long i = 0; i < n; ++i) {
    std::memcpy(sent.data(), &i, sizeof i);
    if (write(to_there, sent.data(), sent.size()) != ssize_t(sent.size())) bench::fail("The pipe broke.", 1);
    if (read(from_there, got.data(), got.size()) != ssize_t(got.size()) || got != sent)
      bench::fail("The other process answered something else.", 1);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const bench::options o = bench::parse(argc, argv);
  if (o.bench != "process_call")
    bench::fail("The pipe peer does not offer '" + o.bench + "'.", bench::exit_not_offered);
  start_other();
  bench::measure("", o.scaled(200000), round_trips);
  close(to_there);
  wait(nullptr);
}
