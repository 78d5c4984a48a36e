// Parsing THRUM_STALL_LOG.
#include "runtime/stall_setting.hpp"

#include <charconv>
#include <stdexcept>
#include <string>
#include <string_view>

namespace thrum {
namespace {

constexpr std::int64_t longest_s = 24 * 3600;

std::int64_t ns_of_unit(std::string_view unit) noexcept {
  if (unit == "s") return 1'000'000'000;
  if (unit == "ms") return 1'000'000;
  if (unit == "us") return 1'000;
  return 0;
}

// 0: not understood.
std::int64_t parse_duration(std::string_view text) noexcept {
  std::int64_t n = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  const auto unit = ns_of_unit(text.substr(static_cast<std::size_t>(end - text.data())));
  if (error != std::errc() || unit == 0 || n <= 0 || n > longest_s * 1'000'000'000 / unit) return 0;
  return n * unit;
}

}  // namespace

stall_log choose_stall_log(stall_log asked, const char* environment) {
  const std::string_view text = environment ? environment : "";
  if (text.empty()) return asked;
  const auto comma = text.find(',');
  const auto limit = text.substr(0, comma);
  asked.limit = std::chrono::nanoseconds(text == "off" ? 0 : parse_duration(limit));
  asked.stacks = comma != text.npos && text.substr(comma) == ",stacks";
  if (text != "off" && (asked.limit.count() == 0 || (comma != text.npos && !asked.stacks)))
    throw std::invalid_argument("thrum: THRUM_STALL_LOG is '" + std::string(text) +
                                "'; it must be a duration such as 20ms, which \",stacks\" may follow, or off");
  return asked;
}

}  // namespace thrum
