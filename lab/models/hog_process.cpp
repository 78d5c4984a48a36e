// Hogs as processes: the kernel takes the processor from them when the ticker's time has come.

#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <thread>

#include "lab/failure.hpp"
#include "lab/limits.hpp"
#include "lab/models/models.hpp"
#include "lab/ticker.hpp"

namespace thrum::lab {

void hog_process(const nlohmann::json& order) {
  ticker t(order);
  pid_t parent = getpid();
  for (int i = 0; i < order.at("hogs").get<int>(); ++i) {
    pid_t pid = fork();
    if (pid < 0) throw failure("cannot start a hog: " + explain_kernel_tasks(errno));
    if (pid > 0) continue;
    die_with_parent(parent);
    never_yield(t.end());
    _exit(0);
  }
  t.run([](auto d) { std::this_thread::sleep_for(d); });
  while (wait(nullptr) > 0) {
  }
  t.report();
}

}  // namespace thrum::lab
