// The cases, all at once, each by a fiber, with as many workers as the first argument says: a line for each, in their
// order. For programs that are built, or started, otherwise than the tests.
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>

#include <thrum/thrum.hpp>

#include "cases.hpp"

int main(int, char** arguments) {
  std::signal(SIGPIPE, SIG_IGN);
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  unsigned workers = 0;
  std::from_chars(arguments[1], arguments[1] + std::strlen(arguments[1]), workers);
  thrum::runtime rt({.workers = workers});
  rt.run([] {
    const auto all = interpose_cases::all_cases();
    std::vector<std::string> texts(all.size());
    thrum::scope s;
    for (std::size_t i = 0; i < all.size(); ++i) s.go([&, i] { texts[i] = interpose_cases::outcome_of(all[i]); });
    s.join();
    for (std::size_t i = 0; i < all.size(); ++i) std::printf("%s: %s\n", all[i].name, texts[i].c_str());
  });
}
