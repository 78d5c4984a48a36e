// Socket addresses as text: what is accepted is written so that it is read as the same address.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <system_error>

#include "net/address.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace thrum::net;
  std::error_code error;
  const auto a = parse_address({reinterpret_cast<const char*>(data), size}, error);
  if (error) return 0;
  const auto again = parse_address(to_string(a), error);
  if (error || again.port() != a.port() || again.length != a.length) std::abort();
  if (std::memcmp(&again.storage, &a.storage, a.length) != 0) std::abort();
  return 0;
}
