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

// What the program without thrum says of a case. It is asked once.
const std::string& expected(const std::string& name) {
  static std::map<std::string, std::string> known;
  const auto [at, is_new] = known.try_emplace(name);
  if (!is_new) return at->second;
  FILE* answer = ::popen((THRUM_TEST_WITHOUT_THRUM " " + name).c_str(), "r");
  char line[4096];
  while (answer && std::fgets(line, sizeof line, answer)) at->second += line;
  EXPECT_EQ(answer ? ::pclose(answer) : -1, 0);
  return at->second;
}

class conformance : public ::testing::TestWithParam<one_case> {
 protected:
  conformance() { std::signal(SIGPIPE, SIG_IGN); }
  static std::string wanted() { return expected(GetParam().name); }
  static std::string outcome() {
    return std::string(GetParam().name) + ": " + interpose_cases::outcome_of(GetParam()) + "\n";
  }
};
INSTANTIATE_TEST_SUITE_P(calls, conformance, ::testing::ValuesIn(interpose_cases::all_cases()),
                         [](const auto& which) { return std::string(which.param.name); });

TEST_P(conformance, of_a_thread) { EXPECT_EQ(outcome(), wanted()); }

TEST_P(conformance, of_a_fiber) {
  for (const unsigned workers : {1u, 2u, 4u})
    with_runtime({.workers = workers}, [&](runtime&) {
      SCOPED_TRACE(workers);
      EXPECT_EQ(outcome(), wanted());
    });
}

// A runtime outside of which others make the same calls.
TEST_P(conformance, of_a_thread_beside_a_runtime) {
  with_runtime({.workers = 2}, [&](runtime&) {
    std::string seen;
    std::thread outside([&] { seen = outcome(); });
    outside.join();
    EXPECT_EQ(seen, wanted());
  });
}

}  // namespace
