// What the tests of process_pool share: functions for workers, and looking at processes.
#pragma once

#include <csignal>
#include <fstream>
#include <string>
#include <system_error>

#include <sys/wait.h>
#include <unistd.h>

#include "base/sanitizers.hpp"
#include "support.hpp"

namespace thrum::test {

#if defined(THRUM_ASAN)
inline constexpr bool under_asan = true;
#else
inline constexpr bool under_asan = false;
#endif

inline int own_id() { return ::getpid(); }
inline int twice(int n) { return 2 * n; }
inline void spin_for_ever() {
  for (volatile bool go = true; go;) {
  }
}
inline void crash_by(int signal) {
  ::signal(signal, SIG_DFL);  // Not the sanitizers' report.
  ::raise(signal);
}
// Until the file is there.
inline int wait_for_file(const std::string& name) {
  while (::access(name.c_str(), F_OK) != 0) ::usleep(200);
  return ::getpid();
}

inline bool process_is_gone(int id) {
  std::ifstream stat("/proc/" + std::to_string(id) + "/stat");
  std::string line;
  std::getline(stat, line);
  const auto end = line.rfind(')');
  return end == std::string::npos || line.compare(end + 2, 1, "Z") == 0;
}

inline bool has_child_processes() {
  siginfo_t info;
  return ::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 || errno != ECHILD;
}
inline void expect_no_children() {
  EXPECT_TRUE(eventually([] { return !has_child_processes(); })) << "processes are left";
}

// Workers wait for it; it is made by open(), and gone in the end.
class gate {
 public:
  gate() {
    std::string pattern = "/tmp/thrum_gate_XXXXXX";
    const int fd = ::mkstemp(pattern.data());
    ::close(fd);
    ::unlink(pattern.c_str());
    name_ = pattern;
  }
  ~gate() { ::unlink(name_.c_str()); }
  gate(const gate&) = delete;
  gate& operator=(const gate&) = delete;
  const std::string& name() const { return name_; }
  void open() const { std::ofstream{name_}; }

 private:
  std::string name_;
};

}  // namespace thrum::test
