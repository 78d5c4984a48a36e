// How many processors this process may use.
#pragma once

namespace thrum::os {

// The smaller of the CPUs in the affinity mask and the CPU quota (rounded up) of every cgroup, v1 or v2, from ours to
// the root. At least 1.
unsigned available_cpus() noexcept;

}  // namespace thrum::os
