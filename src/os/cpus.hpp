// How many processors this process may use.
#pragma once

#include <string>

namespace thrum::os {

// The smaller of the CPUs in the affinity mask and the CPU quota (rounded up) of every cgroup, v1 or v2, from ours to
// the root. At least 1.
unsigned available_cpus() noexcept;

// The quota alone: of the groups that the file `list` names, in the format of /proc/self/cgroup, as the hierarchies
// below `mount` tell it. The greatest unsigned number when there is none.
unsigned cgroup_quota_cpus(const std::string& list, const std::string& mount);

}  // namespace thrum::os
