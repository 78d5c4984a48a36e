// What runs in the child processes of the laboratory: one model, looked up by name.

#include <sys/prctl.h>
#include <sys/resource.h>

#include <map>

#include "lab/child.hpp"
#include "lab/client.hpp"
#include "lab/lab_command.hpp"
#include "lab/models/models.hpp"

namespace thrum::lab {
namespace {

const std::map<std::string, model_function*> models = {
    {"million/process", million_process},
    {"million/thread", million_thread},
    {"million/fiber", million_fiber},
    {"million/task", million_task},
    {"c10k/process", c10k_process},
    {"c10k/thread", c10k_thread},
    {"c10k/pool", c10k_pool},
    {"c10k/event-loop", c10k_event_loop},
    {"c10k/fiber", c10k_fiber},
    {"c10k/fiber-borrow", c10k_fiber_borrow},
    {"c10k/task", c10k_task},
    {"c10k/client", measure_c10k},
    {"costs/process", costs_process},
    {"costs/thread", costs_thread},
    {"costs/fiber", costs_fiber},
    {"costs/task", costs_task},
    {"hog/process", hog_process},
    {"hog/thread", hog_thread},
    {"hog/event-loop", hog_event_loop},
    {"hog/fiber", hog_fiber},
    {"hog/task", hog_task},
    {"crash/thread", crash_thread},
    {"crash/fiber", crash_fiber},
    {"crash/process", crash_process},
    {"crash/process-pool", crash_process_pool},
};

}  // namespace

int run_lab_child(const std::string& model, const std::string& order) try {
  auto found = models.find(model);
  if (found == models.end()) return 127;
  // Equal timers for all: none may be late by the kernel's default slack of 50 µs.
  prctl(PR_SET_TIMERSLACK, 1);
  found->second(json::parse(order));
  return 0;
} catch (const std::exception& e) {
  say({{"error", e.what()}});
  return 1;
}

}  // namespace thrum::lab
