// Names of Unix sockets: what is accepted is told as it was given, and fits into the kernel's structure.
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <system_error>

#include <sys/un.h>

#include "net/unix_address.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace thrum::net;
  const std::string_view name(reinterpret_cast<const char*>(data), size);
  std::error_code error;
  const auto a = parse_unix_address(name, error);
  if (error) return 0;
  if (a.family() != AF_UNIX || a.length > sizeof(sockaddr_un) || unix_name(a) != name) std::abort();
  return 0;
}
