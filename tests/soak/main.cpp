// thrum_soak: rounds of everything; see README.md.
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <string_view>

#include <sys/resource.h>

#include <thrum/inspector.hpp>
#include <thrum/sim.hpp>
#include <thrum/thrum.hpp>

#include "trades.hpp"

namespace thrum::soak {
namespace {

using namespace std::chrono_literals;
using generator = std::mt19937_64;

std::chrono::milliseconds draw(generator& r, std::chrono::milliseconds least, std::chrono::milliseconds most) {
  return least + std::chrono::milliseconds(r() % static_cast<std::uint64_t>((most - least).count() + 1));
}

std::size_t open_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

std::size_t resident_mib() {
  std::size_t total = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> total >> resident;
  return resident * 4096 >> 20;
}

// Lets it work, cancels it, and looks at its books, again and again.
void keep_working(trade& t, generator r, clock::time_point end) {
  while (clock::now() < end) {
    try {
      fiber working = spawn([&] { t.work(); });  // In a scope its failure would cancel us, too.
      this_fiber::sleep_for(draw(r, 0ms, 300ms));
      working.request_stop();
      working.join();
    } catch (const std::system_error& e) {
      if (!no_room(e)) throw;
      this_fiber::sleep_for(1ms);
    }
    t.check();
  }
}

// Now and then there are no more descriptors for a moment.
void take_descriptors_away(generator r, clock::time_point end) {
  struct restored {
    rlimit all;
    restored() { ::getrlimit(RLIMIT_NOFILE, &all); }
    ~restored() { ::setrlimit(RLIMIT_NOFILE, &all); }
  } before;
  while (clock::now() < end) {
    rlimit few = before.all;
    few.rlim_cur = open_descriptors() + r() % 8;
    ::setrlimit(RLIMIT_NOFILE, &few);
    this_fiber::sleep_for(draw(r, 0ms, 20ms));
    ::setrlimit(RLIMIT_NOFILE, &before.all);
    this_fiber::sleep_for(draw(r, 0ms, 500ms));
  }
}

std::string ply(std::uint64_t seed, surroundings where, std::chrono::milliseconds how_long) {
  generator r(seed);
  const auto end = clock::now() + how_long;
  const auto trades = all_trades(r(), where);
  scope all;
  for (auto& t : trades) all.go([&t = *t, mine = generator(r()), end] { keep_working(t, mine, end); });
  if (where == surroundings::real) all.go([mine = generator(r()), end] { take_descriptors_away(mine, end); });
  all.join();
  std::string done;
  for (auto& t : trades) done += std::string(" ") + t->name() + " " + std::to_string(t->done());
  return done;
}

void expect_nothing_left(runtime& rt) {
  for (const auto give_up = std::chrono::steady_clock::now() + 30s; rt.stats().fibers > 0;) {
    require(std::chrono::steady_clock::now() < give_up, "fibers are left");
    std::this_thread::sleep_for(1ms);
  }
  require(rt.stats().timers == 0, "timers are left");
}

std::string real_round(std::uint64_t seed, std::chrono::milliseconds how_long) {
  generator r(seed);
  const auto descriptors = open_descriptors();
  const unsigned workers = 1 + static_cast<unsigned>(r() % (2 * available_processors()));
  std::string done;
  {
    runtime rt({.workers = workers, .fibers_max = std::size_t{1024} << r() % 4});
    done = rt.run([&] { return ply(r(), surroundings::real, how_long); });
    expect_nothing_left(rt);
  }
  require(open_descriptors() <= descriptors, "descriptors are left");
  return std::to_string(workers) + " workers:" + done;
}

std::string simulated_round(std::uint64_t seed) {
  sim::budget b{.schedules = 4, .first_seed = seed, .shrink = false};
  b.each.one_in_resets = 100;
  const auto v = sim::check([seed] { ply(seed, surroundings::simulated, 20ms); }, b);
  require(v.passed, v.report.c_str());
  return "simulated: " + std::to_string(v.decisions) + " decisions";
}

void soak(std::chrono::seconds how_long, std::uint64_t seed) {
  generator seeds(seed);
  const auto start = std::chrono::steady_clock::now();
  for (int round = 1; std::chrono::steady_clock::now() - start < how_long; ++round) {
    const auto this_seed = seeds();
    try {
      const auto left =
          std::chrono::ceil<std::chrono::milliseconds>(start + how_long - std::chrono::steady_clock::now());
      const auto what = round % 4 == 0 ? simulated_round(this_seed) : real_round(this_seed, std::min(10'000ms, left));
      std::printf("round %d, %s; %zu MiB\n", round, what.c_str(), resident_mib());
      std::fflush(stdout);
    } catch (const std::exception& e) {
      std::fprintf(stderr, "soak: round %d of --seed %llu: %s\n", round, static_cast<unsigned long long>(seed),
                   e.what());
      std::exit(1);
    }
  }
}

std::uint64_t number_after(const char* option, int argc, char** argv, std::uint64_t otherwise) {
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view text = argv[i + 1];
    std::uint64_t n = 0;
    if (std::strcmp(argv[i], option) != 0) continue;
    if (std::from_chars(text.data(), text.data() + text.size(), n).ptr == text.data() + text.size()) return n;
  }
  return otherwise;
}

}  // namespace
}  // namespace thrum::soak

int main(int argc, char** argv) {
  using namespace thrum::soak;
  const auto seconds = number_after("--seconds", argc, argv, 3600);
  const auto seed = number_after("--seed", argc, argv, std::random_device()());
  std::printf("soaking for %llu s with --seed %llu\n", static_cast<unsigned long long>(seconds),
              static_cast<unsigned long long>(seed));
  soak(std::chrono::seconds(seconds), seed);
}
