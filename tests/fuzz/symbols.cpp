// Symbol tables of ELF files: whatever stands there, nothing beyond the file is read, and a name has an end.
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

#include <sys/mman.h>
#include <unistd.h>

#include "context/symbols.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const int fd = ::memfd_create("elf", MFD_CLOEXEC);
  if (fd < 0 || ::write(fd, data, size) != static_cast<ssize_t>(size)) std::abort();
  std::array<char, 64> name;
  name.fill('x');
  const auto path = "/proc/self/fd/" + std::to_string(fd);
  if (thrum::context::name_from_file(path.c_str(), nullptr, 0x1010, name) &&
      ::strnlen(name.data(), name.size()) == name.size())
    std::abort();
  ::close(fd);
  return 0;
}
