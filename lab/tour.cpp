// The tour: smaller numbers, shorter runs, and a sentence before each experiment for somebody who sees it
// first.

#include "lab/tour.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "lab/limits.hpp"

namespace thrum::lab {
namespace {

void introduce(const char* text) {
  std::fputs(fmt::format("\n{}\n", text).c_str(), stdout);
  std::fflush(stdout);
}

experiment shown_after_run(experiment e) {
  print(e);
  return e;
}

// A newcomer's machine may allow fewer open files than a server: the tour then shows what fits.
std::int64_t connections_that_fit(std::int64_t wanted) {
  return std::max<std::int64_t>(1, std::min({wanted, descriptors_max() - 64, local_ports() - 512}));
}

}  // namespace

std::vector<experiment> run_tour(progress& shown) {
  std::vector<experiment> seen;
  introduce("1. Many activities at once. Each starts, sleeps, and ends; all are alive at the same time.");
  million_options million;
  million.kernel_tasks_max = 5'000;
  seen.push_back(shown_after_run(run_million(million, shown)));

  introduce("2. A server with many connections. Each request asks a \"database\" that takes 100 ms.");
  c10k_options c10k;
  c10k.connections = connections_that_fit(2'000);
  c10k.seconds = 3;
  seen.push_back(shown_after_run(run_c10k(c10k, shown)));

  introduce("3. The price of the small things.");
  costs_options costs;
  costs.scale = 1;
  seen.push_back(shown_after_run(run_costs(costs, shown)));

  introduce("4. Hogs. What happens to the others when somebody computes and never gives way?");
  hog_options hog;
  hog.seconds = 1;
  seen.push_back(shown_after_run(run_hog(hog, shown)));

  introduce("5. A crash. What is left of many jobs when one of them writes where nothing is?");
  crash_options crash;
  crash.jobs = 200;
  seen.push_back(shown_after_run(run_crash(crash, shown)));
  return seen;
}

}  // namespace thrum::lab
