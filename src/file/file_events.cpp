// The kernel's form of events.
#include "file/file_events.hpp"

#include <array>
#include <cstdint>
#include <cstring>
#include <string>

#include <sys/inotify.h>

namespace thrum::files {
namespace {

struct change_of_bit {
  std::uint32_t bit;
  file_change change;
};
constexpr std::array<change_of_bit, 11> changes{{{IN_CREATE, file_change::created},
                                                 {IN_DELETE, file_change::removed},
                                                 {IN_MOVED_FROM, file_change::moved_from},
                                                 {IN_MOVED_TO, file_change::moved_to},
                                                 {IN_MODIFY, file_change::modified},
                                                 {IN_CLOSE_WRITE, file_change::written},
                                                 {IN_ATTRIB, file_change::attributes},
                                                 {IN_DELETE_SELF, file_change::gone},
                                                 {IN_MOVE_SELF, file_change::gone},
                                                 {IN_IGNORED, file_change::ended},
                                                 {IN_Q_OVERFLOW, file_change::lost}}};

void append(std::vector<file_event>& events, const inotify_event& e, std::span<const std::byte> name) {
  const auto* const text = reinterpret_cast<const char*>(name.data());
  for (const auto& c : changes)
    if (e.mask & c.bit)
      events.push_back({.watch = e.wd,
                        .change = c.change,
                        .of_directory = (e.mask & IN_ISDIR) != 0,
                        .move = e.cookie,
                        .name = name.empty() ? std::string() : std::string(text, ::strnlen(text, name.size()))});
}

}  // namespace

std::vector<file_event> parse_events(std::span<const std::byte> bytes) {
  std::vector<file_event> events;
  for (inotify_event e; bytes.size() >= sizeof e; bytes = bytes.subspan(sizeof e + e.len)) {
    std::memcpy(&e, bytes.data(), sizeof e);
    if (e.len > bytes.size() - sizeof e) break;
    append(events, e, bytes.subspan(sizeof e, e.len));
  }
  return events;
}

}  // namespace thrum::files
