// The cases, or the one that the argument names, by a plain thread: a line for each. Without thrum, what must come of
// them; with it, what may not change.
#include <csignal>
#include <cstdio>
#include <string_view>

#include "cases.hpp"

int main(int count, char** arguments) {
  const std::string_view only = count > 1 ? arguments[1] : "";
  std::signal(SIGPIPE, SIG_IGN);
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  for (const auto& c : interpose_cases::all_cases())
    if (only.empty() || only == c.name) std::printf("%s: %s\n", c.name, interpose_cases::outcome_of(c).c_str());
}
