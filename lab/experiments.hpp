// The five experiments: what can be asked of each, and the functions that run them.
//
// Each starts one child process per model and turns the child's answers into rows. They throw `failure` and
// `interrupted`; when they return or throw, no process that they started is left.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lab/progress.hpp"
#include "lab/report.hpp"

namespace thrum::lab {

struct million_options {
  static const std::vector<std::string> all_models;
  static constexpr std::int64_t count_max = 100'000'000;
  std::int64_t count = 1'000'000;
  std::optional<double> sleep_s;      // By default long enough for all to be alive at once.
  std::int64_t kernel_tasks_max = 0;  // The tour makes no more processes or threads than this; 0: no such limit.
  std::vector<std::string> models = all_models;
};

struct c10k_options {
  static const std::vector<std::string> all_models;
  static constexpr std::int64_t connections_max = 1'000'000;
  std::int64_t connections = 10'000;
  double seconds = 10;
  int wait_ms = 100;
  int pool_threads = 200;
  int port = 0;               // 0: any free one.
  int server_processors = 0;  // 0: half of them, at least one; the client gets the others.
  std::vector<std::string> models = all_models;
};

struct costs_options {
  static const std::vector<std::string> all_models;
  int scale = 5;  // How often everything is repeated, relative to the shortest sensible run.
  std::vector<std::string> models = all_models;
};

struct hog_options {
  static const std::vector<std::string> all_models;
  double seconds = 3;
  std::vector<std::string> models = all_models;
};

struct crash_options {
  static const std::vector<std::string> all_models;
  int jobs = 1000;
  double job_ms = 2;
  std::vector<std::string> models = all_models;
};

experiment run_million(const million_options& o, progress& shown);
experiment run_c10k(const c10k_options& o, progress& shown);
experiment run_costs(const costs_options& o, progress& shown);
experiment run_hog(const hog_options& o, progress& shown);
experiment run_crash(const crash_options& o, progress& shown);

// Runs one model in a child and returns its {"result": …}, or {"too_short": true} (see crowd); its progress
// messages go to `shown`.
json result_of(const std::string& model, const json& order, double patience_s, progress& shown, int processors = 0);

// How many processors this process may use.
int processors_available();

// Removes the columns in which no row has anything, such as "stopped by" when nothing was.
void drop_empty_columns(experiment& e);

// Writes a table and what it teaches to standard output.
void print(const experiment& e);

}  // namespace thrum::lab
