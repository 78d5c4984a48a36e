// Servers of others for tests, by tools/private_servers, which says what there is to ask for: a child of ours that ends
// when its standard input does, so with us, however we end, and takes its servers with it.
//
// The constructor and the destructor block the calling thread for as long as servers need to start and stop.
#pragma once

#include <cstdlib>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thrum/blocking.hpp>

namespace thrum::test {

class private_servers {
 public:
  // Returns when they are ready, or one of them is not installed. `variable` (NAME=value) is put into the environment.
  explicit private_servers(const std::vector<std::string>& names, const std::string& variable = {}) {
    begin(names, variable);
    for (auto line = read_line(); line != "ready"; line = read_line()) {
      const auto equals = line.find('=');
      if (equals == std::string::npos) {
        absent_ = line.empty() ? "tools/private_servers does not run" : line;
        return;
      }
      told_[line.substr(0, equals)] = line.substr(equals + 1);
    }
  }
  ~private_servers() {
    ::close(commands_);
    ::close(answers_);
    int status = 0;
    ::waitpid(child_, &status, 0);
    EXPECT_TRUE(WIFEXITED(status) && (!absent_.empty() || WEXITSTATUS(status) == 0)) << status;
  }
  private_servers(const private_servers&) = delete;
  private_servers& operator=(const private_servers&) = delete;

  const std::string& absent() const { return absent_; }  // Why there is none; empty: there is.
  const std::string& operator[](const std::string& name) const { return told_.at(name); }

  void stop(const std::string& server) { order("stop " + server); }
  void kill(const std::string& server) { order("kill " + server); }
  void start(const std::string& server) { order("start " + server); }

 private:
  void begin(const std::vector<std::string>& names, const std::string& variable) {
    std::vector<std::string> words{THRUM_PRIVATE_SERVERS};
    words.insert(words.end(), names.begin(), names.end());
    std::vector<char*> argv, environment;
    for (auto& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    for (char** e = environ; *e != nullptr; ++e) environment.push_back(*e);
    std::string added = variable;
    if (!added.empty()) environment.push_back(added.data());
    environment.push_back(nullptr);

    int in[2], out[2];
    ASSERT_EQ(::pipe2(in, O_CLOEXEC), 0);
    ASSERT_EQ(::pipe2(out, O_CLOEXEC), 0);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
    posix_spawnattr_t attributes;  // A worker's signal mask is not for others.
    ::posix_spawnattr_init(&attributes);
    sigset_t none;
    ::sigemptyset(&none);
    ::posix_spawnattr_setsigmask(&attributes, &none);
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    ASSERT_EQ(::posix_spawn(&child_, argv[0], &actions, &attributes, argv.data(), environment.data()), 0);
    ::posix_spawnattr_destroy(&attributes);
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(in[0]);
    ::close(out[1]);
    commands_ = in[1];
    answers_ = out[0];
  }

  // On a thread of its own: interposed, the pipes would outlive the runtime that they were first waited for in.
  void order(const std::string& command) {
    blocking([&] {
      const auto line = command + "\n";
      EXPECT_EQ(::write(commands_, line.data(), line.size()), static_cast<ssize_t>(line.size()));
      EXPECT_EQ(read_line(), "done") << command;
    });
  }

  // Without its end; empty at the end of all.
  std::string read_line() {
    std::string line;
    for (char c = 0; ::read(answers_, &c, 1) == 1 && c != '\n';) line += c;
    return line;
  }

  pid_t child_ = -1;
  int commands_ = -1, answers_ = -1;
  std::string absent_;
  std::map<std::string, std::string> told_;
};

}  // namespace thrum::test
