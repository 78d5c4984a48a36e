// What a process costs: fork and wait, a switch between two, a message there and back through pipes.

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "lab/child.hpp"
#include "lab/failure.hpp"
#include "lab/limits.hpp"
#include "lab/models/models.hpp"
#include "lab/stopwatch.hpp"

namespace thrum::lab {
namespace {

template <class F>
pid_t start(F&& f) {
  pid_t parent = getpid();
  pid_t pid = fork();
  if (pid < 0) throw failure("cannot start a process: " + explain_kernel_tasks(errno));
  if (pid > 0) return pid;
  die_with_parent(parent);
  f();
  _exit(0);
}

void create_and_wait(int n) {
  for (int i = 0; i < n; ++i) waitpid(start([] {}), nullptr, 0);
}

void yield_times(int n) {
  for (int i = 0; i < n; ++i) sched_yield();
}

// Two processes on one processor that give way to each other: n switches in all.
void switch_between_two(int n) {
  pid_t other = start([=] { yield_times(n / 2); });
  yield_times(n / 2);
  waitpid(other, nullptr, 0);
}

using pipe_ends = std::array<int, 2>;

pipe_ends make_pipe() {
  pipe_ends ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) throw failure(explain_descriptors(errno));
  return ends;
}

void pass(int from, int to, int n) {
  for (char c = 0; n > 0; --n)
    if (read(from, &c, 1) != 1 || write(to, &c, 1) != 1) return;
}

void ping_pong(int n) {
  pipe_ends there = make_pipe();
  pipe_ends back = make_pipe();
  pid_t other = start([&] { pass(there[0], back[1], n); });
  if (char c = 0; write(there[1], &c, 1) == 1) pass(back[0], there[1], n - 1);
  char last = 0;
  [[maybe_unused]] ssize_t got = read(back[0], &last, 1);
  waitpid(other, nullptr, 0);
  for (int fd : {there[0], there[1], back[0], back[1]}) close(fd);
}

}  // namespace

void costs_process(const nlohmann::json& order) {
  int scale = order.at("scale");
  say({{"result",
        {{"create_join_ns", ns_each(20 * scale, create_and_wait)},
         {"switch_ns", ns_each(2'000 * scale, switch_between_two)},
         {"round_trip_ns", ns_each(400 * scale, ping_pong)}}}});
}

}  // namespace thrum::lab
