// The ways an experiment ends early; main turns each into one sentence on stderr and an exit status.
#pragma once

#include <stdexcept>

namespace thrum::lab {

// Something the user can understand and change: a limit, a busy port, a file that cannot be written.
class failure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The process that ran a model has crashed, or ended in failure.
class died : public failure {
 public:
  using failure::failure;
};

// SIGINT, SIGTERM or SIGHUP arrived; destructors clean up on the way out.
class interrupted : public std::runtime_error {
 public:
  explicit interrupted(int signal) : std::runtime_error("interrupted"), signal_number(signal) {}
  int signal_number;
};

}  // namespace thrum::lab
