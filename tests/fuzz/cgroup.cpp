// What the kernel tells of cgroups, in four files: the input, cut at its zeros.
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include <unistd.h>

#include "os/cpus.hpp"

namespace {

// In memory, and gone after each run: libFuzzer ends without saying so.
struct directory {
  const std::filesystem::path path = "/dev/shm/thrum-fuzz-" + std::to_string(::getpid());

  directory() { std::filesystem::create_directories(path / "cpu"); }
  ~directory() { std::filesystem::remove_all(path); }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const directory d;
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  for (const char* file : {"list", "cpu.max", "cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"}) {
    const auto end = rest.find('\0');
    std::ofstream(d.path / file) << rest.substr(0, end);
    rest = end == rest.npos ? std::string_view() : rest.substr(end + 1);
  }
  if (thrum::os::cgroup_quota_cpus(d.path / "list", d.path) == 0) std::abort();
  return 0;
}
