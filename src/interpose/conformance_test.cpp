// Each interposed call, made by a plain thread, by a fiber, and by a program without thrum: the same comes of it.
#include <csignal>
#include <cstdio>
#include <map>
#include <string>

#include "interpose/cases.hpp"
#include "support.hpp"

namespace {

using namespace thrum;
using namespace thrum::test;
using interpose_cases::one_case;

// What the program without thrum says, by the names of the cases.
const std::map<std::string, std::string>& expected() {
  static const auto all = [] {
    std::map<std::string, std::string> found;
    FILE* lines = ::popen(THRUM_TEST_WITHOUT_THRUM, "r");
    char line[4096];
    while (lines && std::fgets(line, sizeof line, lines)) {
      std::string text = line;
      const auto colon = text.find(": ");
      text.pop_back();
      if (colon != text.npos) found[text.substr(0, colon)] = text.substr(colon + 2);
    }
    EXPECT_EQ(lines ? ::pclose(lines) : -1, 0);
    return found;
  }();
  return all;
}

class conformance : public ::testing::TestWithParam<one_case> {
 protected:
  conformance() { std::signal(SIGPIPE, SIG_IGN); }
  static std::string wanted() {
    const auto found = expected().find(GetParam().name);
    return found == expected().end() ? "missing" : found->second;
  }
};
INSTANTIATE_TEST_SUITE_P(calls, conformance, ::testing::ValuesIn(interpose_cases::all_cases()),
                         [](const auto& which) { return std::string(which.param.name); });

TEST_P(conformance, of_a_thread) { EXPECT_EQ(interpose_cases::outcome_of(GetParam()), wanted()); }

TEST_P(conformance, of_a_fiber) {
  for (const unsigned workers : {1u, 2u, 4u})
    with_runtime({.workers = workers}, [&](runtime&) {
      SCOPED_TRACE(workers);
      EXPECT_EQ(interpose_cases::outcome_of(GetParam()), wanted());
    });
}

// A runtime outside of which others make the same calls.
TEST_P(conformance, of_a_thread_beside_a_runtime) {
  with_runtime({.workers = 2}, [&](runtime&) {
    std::string seen;
    std::thread outside([&] { seen = interpose_cases::outcome_of(GetParam()); });
    outside.join();
    EXPECT_EQ(seen, wanted());
  });
}

}  // namespace
