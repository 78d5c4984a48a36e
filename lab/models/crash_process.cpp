// A process for each job: forked, waited for, gone. Safe, and each pays for a process.

#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "lab/experiments.hpp"
#include "lab/failure.hpp"
#include "lab/job.hpp"
#include "lab/limits.hpp"
#include "lab/models/models.hpp"

namespace thrum::lab {
namespace {

void wait_for_one() {
  int status = 0;
  while (wait(&status) < 0 && errno == EINTR) {
  }
  if (WIFSIGNALED(status))
    tell_failed("signal " + std::to_string(WTERMSIG(status)));
  else
    tell_done();
}

}  // namespace

void crash_process(const nlohmann::json& order) {
  const job_order o(order);
  const pid_t parent = getpid();
  int running = 0;
  for (int job = 0; job < o.jobs; ++job) {
    if (running == processors_available()) wait_for_one(), --running;
    const pid_t pid = fork();
    if (pid < 0) throw failure("cannot start a job: " + explain_kernel_tasks(errno));
    if (pid == 0) {
      die_with_parent(parent);
      compute(o.steps, o.crashes(job));
      _exit(0);
    }
    ++running;
  }
  for (; running > 0; --running) wait_for_one();
}

}  // namespace thrum::lab
