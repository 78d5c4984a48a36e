// Socket addresses as text: what is accepted is written so that it is read as the same address.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <system_error>

#include <thrum/net/endpoint.hpp>

#include "net/address.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace thrum::net;
  std::error_code error;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto a = parse_address(text, error);
  std::error_code endpoints_own;
  const endpoint e(text, endpoints_own);
  if (endpoints_own != error) std::abort();
  if (error) return 0;
  if (e.port() != a.port() || e.to_string() != to_string(a) || endpoint(e.to_string()) != e) std::abort();
  const auto again = parse_address(to_string(a), error);
  if (error || again.port() != a.port() || again.length != a.length) std::abort();
  if (std::memcmp(&again.storage, &a.storage, a.length) != 0) std::abort();
  return 0;
}
