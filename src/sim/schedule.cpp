// Schedules as text, and back.
#include "sim/schedule.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <stdexcept>

namespace thrum::sim {
namespace {

[[noreturn]] void refuse(std::string_view what, std::string_view text) {
  throw std::invalid_argument("THRUM_SIM: " + std::string(what) + " in '" + std::string(text) + "'");
}

template <class T>
T number(std::string_view digits, std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc{} || end != digits.data() + digits.size() || digits.empty()) refuse("no number", text);
  return value;
}

// What stands before the separator; `rest` keeps what follows it.
std::string_view take_until(std::string_view& rest, char separator) {
  const auto at = rest.find(separator);
  const auto part = rest.substr(0, at);
  rest = at == rest.npos ? std::string_view{} : rest.substr(at + 1);
  return part;
}

std::vector<deviation> deviations_in(std::string_view list, std::string_view text) {
  std::vector<deviation> all;
  while (!list.empty()) {
    auto pair = take_until(list, '+');
    const auto decision = number<std::uint32_t>(take_until(pair, ':'), text);
    all.push_back({decision, number<std::uint32_t>(pair, text)});
  }
  return all;
}

struct fault_key {
  fault what;
  std::string_view key;
};
constexpr std::array fault_keys{fault_key{fault::cancellation, "cancel"}, fault_key{fault::allocation, "no_memory"},
                                fault_key{fault::start, "no_start"}};

std::string_view key_of(fault f) noexcept {
  return std::find_if(fault_keys.begin(), fault_keys.end(), [&](const auto& k) { return k.what == f; })->key;
}

fault fault_of(std::string_view key) noexcept {
  const auto found = std::find_if(fault_keys.begin(), fault_keys.end(), [&](const auto& k) { return k.key == key; });
  return found == fault_keys.end() ? fault::none : found->what;
}

using one_in = std::uint32_t options::*;
struct chance_key {
  one_in member;
  std::string_view key;
};
constexpr std::array chance_keys{chance_key{&options::one_in_resets, "one_in_resets"},
                                 chance_key{&options::one_in_lost, "one_in_lost"},
                                 chance_key{&options::one_in_duplicated, "one_in_duplicated"},
                                 chance_key{&options::one_in_interrupted, "one_in_interrupted"},
                                 chance_key{&options::one_in_spurious, "one_in_spurious"}};

one_in chance_of(std::string_view key) noexcept {
  const auto found = std::find_if(chance_keys.begin(), chance_keys.end(), [&](const auto& k) { return k.key == key; });
  return found == chance_keys.end() ? nullptr : found->member;
}

}  // namespace

bool schedule::operator==(const schedule& other) const { return to_line(*this) == to_line(other); }

std::string to_line(const schedule& s) {
  std::string line = "THRUM_SIM=seed=" + std::to_string(s.chosen.seed);
  if (s.chosen.how == strategy::pct) {
    line += ",how=pct,depth=" + std::to_string(s.chosen.depth) + ",horizon=" + std::to_string(s.chosen.horizon);
  } else if (s.chosen.how == strategy::uniform) {
    line += ",how=uniform";
  } else if (s.chosen.how == strategy::exhaustive) {
    line += ",how=exhaustive";
  }
  if (s.chosen.goes_wrong != fault::none && s.chosen.goes_wrong_at != 0)
    line += "," + std::string(key_of(s.chosen.goes_wrong)) + "=" + std::to_string(s.chosen.goes_wrong_at);
  if (!s.scripted) return line;
  line += ",at=";
  const char* separator = "";
  for (const auto& d : s.deviations) {
    line += separator + std::to_string(d.decision) + ":" + std::to_string(d.choice);
    separator = "+";
  }
  return line;
}

schedule from_text(std::string_view text, const options& defaults) {
  schedule s;
  s.chosen = defaults;
  for (auto rest = text; !rest.empty();) {
    auto value = take_until(rest, ',');
    const auto key = take_until(value, '=');
    if (key == "seed") {
      s.chosen.seed = number<std::uint64_t>(value, text);
    } else if (const auto wrong = fault_of(key); wrong != fault::none) {
      s.chosen.goes_wrong = wrong;
      s.chosen.goes_wrong_at = number<std::uint64_t>(value, text);
    } else if (const auto chance = chance_of(key)) {
      s.chosen.*chance = number<std::uint32_t>(value, text);
    } else if (key == "depth") {
      s.chosen.depth = number<unsigned>(value, text);
    } else if (key == "horizon") {
      s.chosen.horizon = number<std::size_t>(value, text);
    } else if (key == "how" && value == "pct") {
      s.chosen.how = strategy::pct;
    } else if (key == "how" && value == "uniform") {
      s.chosen.how = strategy::uniform;
    } else if (key == "how" && value == "random_walk") {
      s.chosen.how = strategy::random_walk;
    } else if (key == "how" && value == "exhaustive") {
      s.chosen.how = strategy::exhaustive;
      s.scripted = true;
    } else if (key == "at") {
      s.scripted = true;
      s.deviations = deviations_in(value, text);
    } else {
      refuse("neither seed, how, depth, horizon, cancel, no_memory, no_start, a one_in_... nor at", text);
    }
  }
  return s;
}

}  // namespace thrum::sim
