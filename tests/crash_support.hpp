// Programs that die, each in a process of its own: this very executable, started again with the scenario's
// name.
#pragma once

#include <string>

#include "support.hpp"

namespace thrum::test {

// Registers a body under a name; the child process runs it and, if it returns, exits with 0.
class scenario {
 public:
  scenario(const char* name, void (*body)());
  const char* name() const noexcept { return name_; }

 private:
  const char* name_;
};

struct death {
  int status = 0;      // As waitpid() tells it.
  std::string errors;  // What was written to standard error.
};
death run_scenario(const scenario& s);

// Exit status, or minus the signal that ended it.
int how(const death& d);
bool says(const death& d, const std::string& pattern);  // A regular expression somewhere in `errors`.

// "fiber 7 "name" (spawned at .../file:line in ...)" as a regular expression; an empty name matches unnamed
// fibers.
std::string fiber_pattern(const std::string& name = "");

inline constexpr const char* stack_pattern = "    #0 [^\n]*\n    #1 ";

// In a TEST: the scenario aborts after saying what the pattern describes.
#define EXPECT_ABORTS(scenario_object, pattern)                                          \
  do {                                                                                   \
    const auto died = ::thrum::test::run_scenario(scenario_object);                      \
    EXPECT_EQ(::thrum::test::how(died), -SIGABRT) << died.errors;                        \
    EXPECT_TRUE(::thrum::test::says(died, pattern)) << (pattern) << "\n" << died.errors; \
  } while (false)

}  // namespace thrum::test
