// `thrum lab hog`: what activities that never yield do to one that only wants to sleep a millisecond at a
// time.

#include <fmt/format.h>

#include <set>

#include "lab/experiments.hpp"

namespace thrum::lab {

const std::vector<std::string> hog_options::all_models = {"process", "thread", "event-loop", "fiber", "task"};

namespace {

const std::vector<column> columns = {{"model", "model", unit::text},
                                     {"variant", "beside", unit::text},
                                     {"ticks", "wake-ups", unit::count},
                                     {"ticks_percent", "of those possible", unit::percent},
                                     {"p50_us", "late, p50", unit::microseconds},
                                     {"p99_us", "late, p99", unit::microseconds},
                                     {"max_us", "late, at most", unit::microseconds}};

const std::vector<plot> plots = {
    {plot::kind::bars, "ticks_percent", "Wake-ups reached, of those possible", unit::percent, false},
    {plot::kind::bars, "p99_us", "Lateness, 99th percentile", unit::microseconds, true},
    {plot::kind::percentiles, "lateness_us", "Lateness beside one hog per processor", unit::microseconds, true}};

std::string variant_name(int hogs) { return hogs == 0 ? "no hog" : hogs == 1 ? "1 hog" : fmt::format("{} hogs", hogs); }

json run_variant(const std::string& model, int hogs, double seconds, progress& shown) {
  shown.begin(fmt::format("hog: {} beside {}", model, variant_name(hogs)));
  json row = result_of("hog/" + model, {{"hogs", hogs}, {"seconds", seconds}}, seconds + 60, shown);
  row["model"] = model;
  row["variant"] = variant_name(hogs);
  row["hogs"] = hogs;
  row["ticks_percent"] = number(row, "ticks") / (seconds * 1000) * 100;
  return row;
}

void add_lessons(experiment& e, int hogs) {
  std::string most = variant_name(hogs);
  if (const json* loop = find_row(e, "event-loop", "1 hog"))
    e.lessons.push_back(
        fmt::format("In an event loop one callback that never returns stops everybody: wake-ups beside 1 hog: {}.",
                    show(*loop, "ticks", unit::count)));
  const json* thread = find_row(e, "thread", most);
  const json* fiber = find_row(e, "fiber", most);
  if (!thread || !fiber) return;
  e.lessons.push_back(
      fmt::format("Beside {}, the fiber woke up {} times and the OS thread {} times: the monitor hands the "
                  "processor of a stuck worker to another OS thread.",
                  most, show(*fiber, "ticks", unit::count), show(*thread, "ticks", unit::count)));
  if (const json* task = find_row(e, "task", most))
    e.lessons.push_back(
        fmt::format("The task beside hogs that are tasks woke up {} times: the hog keeps the thread and its stack, the "
                    "others go on elsewhere.",
                    show(*task, "ticks", unit::count)));
}

}  // namespace

experiment run_hog(const hog_options& o, progress& shown) {
  int most = processors_available();
  experiment e;
  e.name = "hog";
  e.question = fmt::format("how late is an activity that sleeps 1 ms at a time, for {}, beside hogs that never yield?",
                           show(o.seconds, unit::seconds));
  e.parameters = {{"seconds", o.seconds}, {"processors", most}};
  e.columns = columns;
  e.plots = plots;
  e.plots.back().only_variant = variant_name(most);
  for (const std::string& model : o.models)
    for (int hogs : std::set<int>{0, 1, most}) e.rows.push_back(run_variant(model, hogs, o.seconds, shown));
  shown.clear();
  add_lessons(e, most);
  return e;
}

}  // namespace thrum::lab
