// The cases, by a plain thread: a line for each. Without thrum, what must come of them; with it, what may not change.
#include <csignal>
#include <cstdio>

#include "cases.hpp"

int main() {
  std::signal(SIGPIPE, SIG_IGN);
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  for (const auto& c : interpose_cases::all_cases())
    std::printf("%s: %s\n", c.name, interpose_cases::outcome_of(c).c_str());
}
