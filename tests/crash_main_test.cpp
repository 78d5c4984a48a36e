// The two lives of the crash tests' executable: the tests themselves, and one scenario that is to die.
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <regex>
#include <string>

#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crash_support.hpp"

namespace thrum::test {
namespace {

constexpr const char* option = "--scenario";

std::map<std::string, void (*)()>& scenarios() {
  static std::map<std::string, void (*)()> all;
  return all;
}

[[noreturn]] void become(const char* name, int errors) {
  const rlimit no_core{};
  ::setrlimit(RLIMIT_CORE, &no_core);
  ::dup2(errors, STDERR_FILENO);
  ::execl("/proc/self/exe", "/proc/self/exe", option, name, nullptr);
  ::_exit(127);
}

// Everything until the last writer is gone; kills a child that hangs.
std::string read_all(int fd, pid_t child) {
  const auto give_up = std::chrono::steady_clock::now() + hang_guard / 2;
  std::string text;
  char block[4096];
  for (;;) {
    pollfd p{.fd = fd, .events = POLLIN, .revents = 0};
    if (::poll(&p, 1, 100) > 0) {
      const auto n = ::read(fd, block, sizeof block);
      if (n <= 0) return text;
      text.append(block, static_cast<std::size_t>(n));
    }
    if (std::chrono::steady_clock::now() < give_up) continue;
    ::kill(child, SIGKILL);
    return text + "\n(killed: it hangs)\n";
  }
}

}  // namespace

scenario::scenario(const char* name, void (*body)()) : name_(name) {
  if (scenarios().try_emplace(name, body).second) return;
  std::fprintf(stderr, "two scenarios are called %s\n", name);
  std::abort();
}

death run_scenario(const scenario& s) {
  int ends[2];
  death d;
  if (::pipe(ends) != 0) return d;
  const pid_t child = ::fork();
  if (child == 0) become(s.name(), ends[1]);
  ::close(ends[1]);
  d.errors = read_all(ends[0], child);
  ::close(ends[0]);
  ::waitpid(child, &d.status, 0);
  return d;
}

int how(const death& d) { return WIFSIGNALED(d.status) ? -WTERMSIG(d.status) : WEXITSTATUS(d.status); }

bool says(const death& d, const std::string& pattern) { return std::regex_search(d.errors, std::regex(pattern)); }

std::string fiber_pattern(const std::string& name) {
  const auto named = name.empty() ? "" : " \"" + name + "\"";
  return "fiber [0-9]+" + named + " \\(spawned at [^\n]*\\.[ch]pp:[0-9]+ in [^\n]*\\)";
}

}  // namespace thrum::test

int main(int argc, char** argv) {
  using namespace thrum::test;
  if (argc == 3 && std::strcmp(argv[1], option) == 0) {
    const auto found = scenarios().find(argv[2]);
    if (found == scenarios().end()) return 126;
    found->second();
    return 0;
  }
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
