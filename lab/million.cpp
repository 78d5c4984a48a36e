// `thrum lab million`: N sleepers, all alive at once, as tasks, fibers, OS threads and processes.

#include <fmt/format.h>

#include <algorithm>

#include "lab/experiments.hpp"
#include "lab/limits.hpp"

namespace thrum::lab {

const std::vector<std::string> million_options::all_models = {"process", "thread", "fiber", "task"};

namespace {

const std::vector<column> columns = {{"model", "model", unit::text},
                                     {"activities", "started", unit::count},
                                     {"alive_max", "alive at once", unit::count},
                                     {"wall_s", "wall", unit::seconds},
                                     {"user_s", "user", unit::seconds},
                                     {"system_s", "system", unit::seconds},
                                     {"rss_peak_bytes", "memory, peak", unit::bytes},
                                     {"rss_bytes_each", "memory, each", unit::bytes},
                                     {"kernel_bytes_each", "kernel's, each", unit::bytes},
                                     {"limit", "stopped by", unit::text}};

const std::vector<plot> plots = {
    {plot::kind::bars, "alive_max", "Alive at once", unit::count, true},
    {plot::kind::bars, "rss_bytes_each", "Memory of each, in its own address space", unit::bytes, true},
    {plot::kind::bars, "cpu_us_each", "CPU time to create, run and end one", unit::microseconds, true}};

std::int64_t kernel_tasks_possible(const million_options& o) {
  std::int64_t possible = std::min(o.count, room_for_kernel_tasks().tasks);
  return o.kernel_tasks_max > 0 ? std::min(possible, o.kernel_tasks_max) : possible;
}

// How long all must sleep so that the last starts before the first wakes: a generous guess of the time to
// make one.
double guess_sleep(const std::string& model, const million_options& o) {
  if (model == "task") return 1 + 3e-6 * static_cast<double>(o.count);
  if (model == "fiber") return 1 + 12e-6 * static_cast<double>(o.count);
  return 1 + (model == "thread" ? 60e-6 : 300e-6) * static_cast<double>(kernel_tasks_possible(o));
}

// Without a given sleep, a model whose first sleeper woke too early is tried again with twice the time.
json run_model(const std::string& model, const million_options& o, progress& shown) {
  double sleep_s = o.sleep_s.value_or(guess_sleep(model, o));
  constexpr int attempts = 5;
  for (int i = 1;; ++i, sleep_s *= 2) {
    bool last = o.sleep_s || i == attempts;
    shown.begin(fmt::format("million: {}, asleep for {}", model, show(sleep_s, unit::seconds)));
    json order = {
        {"count", o.count}, {"sleep_s", sleep_s}, {"must_overlap", !last}, {"kernel_tasks_max", o.kernel_tasks_max}};
    json row = result_of("million/" + model, order, sleep_s + 120, shown);
    if (last || (!row.contains("too_short") && row["alive_max"] == row["activities"])) return row;
  }
}

void add_notes(experiment& e) {
  for (const json& row : e.rows)
    if (number(row, "alive_max") < number(row, "activities"))
      e.notes.push_back(
          fmt::format("of the {} activities of model {} only {} were alive at once; give a longer --sleep.",
                      show(row, "activities", unit::count), label(row), show(row, "alive_max", unit::count)));
}

void add_lessons(experiment& e) {
  const json* fiber = find_row(e, "fiber");
  if (fiber == nullptr) return;
  e.lessons.push_back(
      fmt::format("{} fibers slept at the same time in {}, {} each: a sleeping fiber is a little memory, "
                  "and the kernel does not know of it.",
                  show(*fiber, "alive_max", unit::count), show(*fiber, "rss_peak_bytes", unit::bytes),
                  show(*fiber, "rss_bytes_each", unit::bytes)));
  if (const json* task = find_row(e, "task"))
    e.lessons.push_back(
        fmt::format("A task took {}, {:.1f}% of a fiber's memory, and {:.2f} times its CPU time: it has no stack.",
                    show(*task, "rss_bytes_each", unit::bytes),
                    number(*task, "rss_bytes_each") / number(*fiber, "rss_bytes_each") * 100,
                    number(*task, "cpu_us_each") / number(*fiber, "cpu_us_each")));
  for (const char* model : {"thread", "process"}) {
    const json* other = find_row(e, model);
    if (other == nullptr) continue;
    double ratio = number(*other, "cpu_us_each") / number(*fiber, "cpu_us_each");
    std::string stopped = other->contains("limit")
                              ? fmt::format("ended at {} ({})", show(*other, "activities", unit::count),
                                            (*other)["limit"].get<std::string>())
                              : "reached the same number";
    e.lessons.push_back(fmt::format("The {} model {}; one {} took {:.1f} times the CPU time of a fiber.", model,
                                    stopped, model, ratio));
  }
}

}  // namespace

experiment run_million(const million_options& o, progress& shown) {
  experiment e;
  e.name = "million";
  e.question = fmt::format("what do {} activities cost that all sleep at the same time?",
                           show(static_cast<double>(o.count), unit::count));
  e.parameters = {{"count", o.count}};
  e.columns = columns;
  e.plots = plots;
  for (const std::string& model : o.models) {
    json row = run_model(model, o, shown);
    row["model"] = model;
    row["cpu_us_each"] = (number(row, "user_s") + number(row, "system_s")) * 1e6 / number(row, "activities");
    e.rows.push_back(std::move(row));
  }
  shown.clear();
  drop_empty_columns(e);
  add_notes(e);
  add_lessons(e);
  return e;
}

}  // namespace thrum::lab
