// Which limit of this machine stops a model, and how much room is left before one does.
//
// The lab runs models until they break, on machines that others use: room_for_kernel_tasks() keeps a reserve of
// process ids, and enough_memory() of memory, so that the machine survives the experiment.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace thrum::lab {

// A task here is the kernel's, a process or thread with an id, not thrum's.
struct kernel_task_room {
  std::int64_t tasks;  // Processes or threads that may still be started.
  std::string limit;   // The limit that sets this number, as a phrase for a table.
};
kernel_task_room room_for_kernel_tasks();

// Below this share of the machine's (or the control group's) memory the lab stops making more.
inline constexpr int memory_reserve_percent = 15;
bool enough_memory();
std::string memory_guard_phrase();

// Why a fork, clone or thread failed with `error`; why a descriptor could not be opened.
std::string explain_kernel_tasks(int error);
std::string explain_descriptors(int error);

// Raises the soft limit of open files to what is needed; the limit that forbids it otherwise.
std::optional<std::string> allow_descriptors(std::int64_t needed);
std::int64_t descriptors_max();

// Local ports that one client address has for connections to one server.
std::int64_t local_ports();

}  // namespace thrum::lab
