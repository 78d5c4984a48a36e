// A million sleepers, each a process: fork() and sleep. The kernel copies page tables for each and gives it
// an id.

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <thread>
#include <vector>

#include "lab/child.hpp"
#include "lab/crowd.hpp"
#include "lab/models/models.hpp"

namespace thrum::lab {

void million_process(const nlohmann::json& order) {
  crowd all(order, crowd::made_of::kernel_tasks);
  std::vector<pid_t> processes;
  pid_t parent = getpid();
  while (all.wants_another()) {
    pid_t pid = fork();
    if (pid < 0) {
      all.stop(explain_kernel_tasks(errno));
      break;
    }
    if (pid == 0) {
      die_with_parent(parent);
      all.arrive();
      std::this_thread::sleep_for(all.nap());
      all.leave();
      _exit(0);
    }
    processes.push_back(pid);
  }
  all.weigh([] { std::this_thread::sleep_for(std::chrono::milliseconds(1)); }, processes);
  for (pid_t pid : processes) waitpid(pid, nullptr, 0);
  all.finish();
}

}  // namespace thrum::lab
