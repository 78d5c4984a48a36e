// What is read from an inotify descriptor, as events.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include <thrum/file_watcher.hpp>

namespace thrum::files {

// An event that is cut off ends them, and is none.
std::vector<file_event> parse_events(std::span<const std::byte> bytes);

}  // namespace thrum::files
