// Numbers for people, the terminal table and the JSON document.

#include "lab/report.hpp"

#include <fmt/format.h>
#include <sched.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cmath>
#include <fstream>
#include <limits>

namespace thrum::lab {
namespace {

struct step {
  double factor;
  const char* name;
};

// Three significant digits, as nobody reads more of a measurement.
std::string three_digits(double v) {
  double size = std::fabs(v);
  return size >= 100 ? fmt::format("{:.0f}", v) : size >= 10 ? fmt::format("{:.1f}", v) : fmt::format("{:.2f}", v);
}

template <std::size_t N>
std::string scaled(double v, const std::array<step, N>& steps) {
  const step* best = &steps.front();
  for (const step& s : steps)
    if (std::fabs(v) >= s.factor) best = &s;
  return three_digits(v / best->factor) + " " + best->name;
}

std::string show_time(double ns) {
  static constexpr std::array<step, 4> steps{{{1, "ns"}, {1e3, "µs"}, {1e6, "ms"}, {1e9, "s"}}};
  return scaled(ns, steps);
}

std::string show_bytes(double bytes) {
  static constexpr std::array<step, 4> steps{
      {{1, "B"}, {1024, "KiB"}, {1024.0 * 1024, "MiB"}, {1024.0 * 1024 * 1024, "GiB"}}};
  return scaled(bytes, steps);
}

std::string with_commas(double v) {
  std::string digits = fmt::format("{:.0f}", v);
  std::size_t first = digits.front() == '-' ? 1 : 0;
  for (std::size_t at = digits.size(); at > first + 3;) digits.insert(at -= 3, 1, ',');
  return digits;
}

// Columns on a terminal: bytes that continue a UTF-8 character take none.
std::size_t width(std::string_view text) {
  std::size_t n = 0;
  for (unsigned char c : text) n += (c & 0xc0) != 0x80;
  return n;
}

std::string padded(const std::string& text, std::size_t to, bool right) {
  std::string fill(to > width(text) ? to - width(text) : 0, ' ');
  return right ? fill + text : text + fill;
}

std::string first_line_value(const char* file, std::string_view key) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(key)) return line.substr(std::min(line.size(), line.find(':') + 2));
  return {};
}

std::string now_utc() {
  std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::array<char, 32> text{};
  std::tm parts{};
  std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &parts));
  return text.data();
}

using grid = std::vector<std::vector<std::string>>;

grid cells_of(const experiment& e) {
  grid cells(1);
  for (const column& c : e.columns) cells[0].push_back(c.title);
  for (const json& row : e.rows) {
    cells.emplace_back();
    for (const column& c : e.columns) cells.back().push_back(show(row, c.key, c.shown_as));
  }
  return cells;
}

std::vector<std::size_t> widths_of(const grid& cells) {
  std::vector<std::size_t> widths(cells[0].size());
  for (const auto& row : cells)
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width(row[i]));
  return widths;
}

json experiment_json(const experiment& e) {
  return {{"name", e.name}, {"question", e.question}, {"parameters", e.parameters},
          {"rows", e.rows}, {"notes", e.notes},       {"lessons", e.lessons}};
}

}  // namespace

std::string show(double v, unit as) {
  if (std::isnan(v)) return "-";
  switch (as) {
    case unit::text:
      return fmt::format("{}", v);
    case unit::count:
      return with_commas(v);
    case unit::seconds:
      return v >= 0.1 || v == 0 ? three_digits(v) + " s" : show_time(v * 1e9);
    case unit::nanoseconds:
      return show_time(v);
    case unit::microseconds:
      return show_time(v * 1e3);
    case unit::bytes:
      return show_bytes(v);
    case unit::per_second:
      return with_commas(v) + "/s";
    case unit::percent:
      return fmt::format("{:.1f}%", v);
  }
  return "-";
}

std::string show(const json& value, unit as) {
  if (value.is_string()) return value.get<std::string>();
  return value.is_number() ? show(value.get<double>(), as) : "-";
}

std::string show(const json& row, const std::string& key, unit as) {
  auto at = row.find(key);
  return at == row.end() ? "-" : show(*at, as);
}

double number(const json& row, const std::string& key) {
  auto at = row.find(key);
  bool usable = at != row.end() && at->is_number();
  return usable ? at->get<double>() : std::numeric_limits<double>::quiet_NaN();
}

std::string label(const json& row) {
  std::string text = row.value("model", "");
  if (row.contains("variant")) text += ", " + row["variant"].get<std::string>();
  return text;
}

const json* find_row(const experiment& e, std::string_view model, std::string_view variant) {
  for (const json& row : e.rows)
    if (row.value("model", "") == model && (variant.empty() || row.value("variant", "") == variant)) return &row;
  return nullptr;
}

json describe_machine() {
  utsname names{};
  uname(&names);
  cpu_set_t mask;
  CPU_ZERO(&mask);
  sched_getaffinity(0, sizeof mask, &mask);
  double memory = static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  return {{"processor", first_line_value("/proc/cpuinfo", "model name")},
          {"processors", CPU_COUNT(&mask)},
          {"memory_bytes", memory},
          {"kernel", std::string(names.sysname) + " " + names.release},
          {"architecture", names.machine},
          {"thrum", THRUM_VERSION},
          {"when", now_utc()}};
}

std::string table_text(const experiment& e) {
  grid cells = cells_of(e);
  std::vector<std::size_t> widths = widths_of(cells);
  std::vector<std::string> rule;
  for (std::size_t w : widths) rule.emplace_back(w, '-');
  cells.insert(cells.begin() + 1, rule);
  std::string out;
  for (const auto& row : cells) {
    std::vector<std::string> fields;
    for (std::size_t i = 0; i < row.size(); ++i)
      fields.push_back(padded(row[i], widths[i], e.columns[i].shown_as != unit::text));
    std::string line = fmt::format("{}", fmt::join(fields, "  "));
    out.append(line, 0, line.find_last_not_of(' ') + 1).append("\n");
  }
  return out;
}

json to_json(const report& r) {
  json experiments = json::array();
  for (const experiment& e : r.experiments) experiments.push_back(experiment_json(e));
  return {{"machine", r.machine}, {"experiments", experiments}};
}

}  // namespace thrum::lab
