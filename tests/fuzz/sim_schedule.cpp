// The value of THRUM_SIM: what is accepted is written as a line that is read as the same schedule.
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string_view>

#include "sim/schedule.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace thrum::sim;
  schedule s;
  try {
    s = from_text({reinterpret_cast<const char*>(data), size}, {});
  } catch (const std::invalid_argument&) {
    return 0;
  }
  const auto line = to_line(s);
  if (!(from_text(std::string_view(line).substr(line.find('=') + 1), {}) == s)) std::abort();
  return 0;
}
