// What inotify tells: nothing beyond the bytes is read, and an event that is cut off is none.
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include <sys/inotify.h>

#include "file/file_events.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::vector<std::uint8_t> exactly(data, data + size);  // AddressSanitizer knows where it ends.
  const auto events = thrum::files::parse_events(std::as_bytes(std::span(exactly)));
  if (events.size() > size / sizeof(inotify_event) * 32) std::abort();
  for (const auto& e : events)
    if (e.name.size() > size || e.name.find('\0') != std::string::npos) std::abort();
  return 0;
}
