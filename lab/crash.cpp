// `thrum lab crash`: what is left of many jobs when one of them crashes in the middle.

#include <fmt/format.h>

#include <chrono>

#include "lab/child.hpp"
#include "lab/experiments.hpp"
#include "lab/failure.hpp"
#include "lab/job.hpp"

namespace thrum::lab {

const std::vector<std::string> crash_options::all_models = {"thread", "fiber", "process", "process-pool"};

namespace {

using clock = std::chrono::steady_clock;

const std::vector<column> columns = {{"model", "model", unit::text},
                                     {"done", "jobs done", unit::count},
                                     {"lost", "jobs lost", unit::count},
                                     {"seconds", "took", unit::seconds},
                                     {"overhead_percent", "beyond computing", unit::percent},
                                     {"outcome", "what became of it", unit::text}};

const std::vector<plot> plots = {{plot::kind::bars, "done", "Jobs that ended well", unit::count, false}};

double seconds_since(clock::time_point start) { return std::chrono::duration<double>(clock::now() - start).count(); }

// As many steps as take the wanted time here and now.
std::uint64_t steps_for(double seconds) {
  constexpr std::uint64_t trial = 2'000'000;
  const auto start = clock::now();
  volatile std::uint64_t result = compute(trial, false);
  (void)result;
  return static_cast<std::uint64_t>(trial * seconds / std::max(seconds_since(start), 1e-9));
}

json run_model(const crash_options& o, const std::string& model, std::uint64_t steps, progress& shown) {
  shown.begin("crash: " + model);
  const auto start = clock::now();
  json row = {{"model", model}, {"outcome", "all its other jobs were done"}};
  std::int64_t done = 0, failed = 0;
  try {
    child c("crash/" + model, {{"jobs", o.jobs}, {"steps", steps}});
    while (auto message = c.next(child::seconds(60))) {
      done += message->contains("done");
      failed += message->contains("failed");
      if (message->contains("failed")) row["told"] = (*message)["failed"];
    }
  } catch (const died& d) {
    row["outcome"] = "the program died with it";
    row["told"] = d.what();
  }
  row["done"] = done;
  row["failed"] = failed;
  row["lost"] = o.jobs - done;
  row["seconds"] = seconds_since(start);
  return row;
}

void add_overhead(json& row, const crash_options& o) {
  const double computing = o.jobs * o.job_ms * 1e-3 / std::min(processors_available(), o.jobs);
  if (number(row, "lost") <= 1) row["overhead_percent"] = (number(row, "seconds") / computing - 1) * 100;
}

void add_lessons(experiment& e) {
  const json* fiber = find_row(e, "fiber", "");
  const json* pool = find_row(e, "process-pool", "");
  if (fiber)
    e.lessons.push_back(fmt::format("Fibers and threads share their memory, and their end: of the jobs, {} were done.",
                                    show(*fiber, "done", unit::count)));
  if (pool && pool->contains("told"))
    e.lessons.push_back(fmt::format("The pool lost {} and told its caller: {}.", show(*pool, "lost", unit::count),
                                    (*pool)["told"].get<std::string>()));
}

}  // namespace

experiment run_crash(const crash_options& o, progress& shown) {
  experiment e;
  e.name = "crash";
  e.question = fmt::format("what becomes of {} jobs that compute for {:g} ms each, when the one in the middle crashes?",
                           o.jobs, o.job_ms);
  e.parameters = {{"jobs", o.jobs}, {"job_ms", o.job_ms}, {"processors", processors_available()}};
  e.columns = columns;
  e.plots = plots;
  const auto steps = steps_for(o.job_ms * 1e-3);
  for (const std::string& model : o.models) {
    e.rows.push_back(run_model(o, model, steps, shown));
    add_overhead(e.rows.back(), o);
  }
  shown.clear();
  add_lessons(e);
  return e;
}

}  // namespace thrum::lab
