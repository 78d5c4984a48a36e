// A child process in which one model runs, so that its memory and CPU time are its own and its death is not
// ours.
//
// The child is this same program with the hidden sub-command `lab-child MODEL ORDER`. It leads a process
// group of its own; whatever it forks stays in that group, so that one kill ends it all. It writes one JSON
// object per line to its standard output: {"error": sentence} ends the run with a failure, everything else is
// the model's affair.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace thrum::lab {

using json = nlohmann::json;

// Must be called once before the first child: turns SIGINT, SIGTERM and SIGHUP into `interrupted`, and makes
// us the parent of orphans, so that grandchildren can be reaped too.
void prepare_for_children();

class child {
 public:
  using seconds = std::chrono::duration<double>;

  // `processors`: how many of the available ones it may use: positive from the front, negative from the back
  // (so that a client and a server can be kept apart), 0 for all.
  child(const std::string& model, const json& order, int processors = 0);
  ~child();  // Kills and reaps the whole group.
  child(const child&) = delete;
  child& operator=(const child&) = delete;

  // The next message; nullopt when the child has closed its output. Throws `failure` for an {"error"}, `died` for
  // a child that did, `failure` when nothing arrives within `patience`; `interrupted` on a signal.
  std::optional<json> next(seconds patience);
  // A message that has already arrived, if there is one.
  std::optional<json> next_if_any();
  // Lets a child go on that waits in wait_for_parent().
  void release();

  pid_t id() const { return pid_; }

 private:
  std::optional<json> take_line();
  bool fill(seconds patience);
  void expect_success();
  void end();

  std::string model_;
  pid_t pid_ = -1;
  int from_child_ = -1;
  int to_child_ = -1;
  bool at_end_ = false;
  std::string pending_;
};

// In the child: one message to the parent; waiting for release() or the parent's end; dying with the parent.
void say(const json& message);
void wait_for_parent();
void die_with_parent(pid_t expected_parent);

}  // namespace thrum::lab
