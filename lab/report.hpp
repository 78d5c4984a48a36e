// What an experiment found, in one form that the terminal table, the JSON file and the HTML page all print.
//
// A row is a JSON object with raw SI values (bytes, seconds, nanoseconds); columns say which keys people are
// shown, in which order and with which unit. Plots name a key of the rows, so they can never show other
// numbers than the table does.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace thrum::lab {

using json = nlohmann::json;

// How a raw number is shown to people.
enum class unit { text, count, seconds, nanoseconds, microseconds, bytes, per_second, percent };

struct column {
  std::string key;
  std::string title;
  unit shown_as = unit::text;
};

struct plot {
  enum class kind { bars, percentiles };
  kind drawn_as = kind::bars;
  std::string key;  // Of the rows: a number for bars, an array of [percentile, value] for percentiles.
  std::string title;
  unit shown_as = unit::count;
  bool logarithmic = false;
  std::string only_variant = {};  // Where a model has several rows: draw only those.
};

struct experiment {
  std::string name;
  std::string question;  // What it asks, in one sentence.
  json parameters = json::object();
  std::vector<column> columns;
  std::vector<json> rows;  // Each has "model" and, where a model has several rows, "variant".
  std::vector<plot> plots;
  std::vector<std::string> notes;    // What stopped or disturbed a model.
  std::vector<std::string> lessons;  // What was just seen, in a sentence or two, built from the rows.
};

struct report {
  json machine;
  std::vector<experiment> experiments;
};

// "4.6 KiB", "1,000,000", "12.3 ms"; "-" for a value that could not be measured.
std::string show(const json& value, unit as);
std::string show(double value, unit as);
// The value of `key` in `row` as people read it.
std::string show(const json& row, const std::string& key, unit as);

// The number under `key`, or NaN.
double number(const json& row, const std::string& key);
// "thread" or "thread, 2 hogs".
std::string label(const json& row);
// The first row of that model, or nullptr.
const json* find_row(const experiment& e, std::string_view model, std::string_view variant = {});

json describe_machine();
std::string table_text(const experiment& e);
json to_json(const report& r);
std::string to_html(const report& r);

}  // namespace thrum::lab
