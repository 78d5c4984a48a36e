// The command line of the laboratory: options, their limits, and the files that a run leaves.

#include "lab/lab_command.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <system_error>

#include "lab/child.hpp"
#include "lab/experiments.hpp"
#include "lab/failure.hpp"
#include "lab/tour.hpp"
#include "lab/usage.hpp"

namespace thrum::lab {
namespace {

struct outputs {
  std::string json_file;
  std::string html_file;
};

// Long experiments should not end with "cannot write": look first, without creating anything.
void check_writable(const std::string& file) {
  if (file.empty()) return;
  struct stat status {};
  bool exists = stat(file.c_str(), &status) == 0;
  std::size_t slash = file.find_last_of('/');
  std::string directory = slash == std::string::npos ? "." : file.substr(0, slash + 1);
  if (exists && S_ISDIR(status.st_mode)) throw failure(fmt::format("cannot write {}: it is a directory", file));
  if (access(exists ? file.c_str() : directory.c_str(), W_OK) != 0)
    throw failure(fmt::format("cannot write {}: {}", file, std::generic_category().message(errno)));
}

void write_file(const std::string& file, const std::string& text) {
  if (file.empty()) return;
  std::ofstream out(file, std::ios::trunc);
  out << text;
  out.close();
  if (!out) throw failure(fmt::format("cannot write {}: {}", file, std::generic_category().message(errno)));
}

// Whoever shares the machine disturbs the measurement; the reader of the results should know.
double tell_if_busy() {
  double busy = busy_share(std::chrono::milliseconds(250)) * 100;
  if (busy > 20)
    std::fputs(
        fmt::format("thrum: other programs use {:.0f}% of the processors, which disturbs the results.\n", busy).c_str(),
        stderr);
  return busy;
}

void write_outputs(const outputs& out, std::vector<experiment> experiments, double busy_percent) {
  report r{describe_machine(), std::move(experiments)};
  r.machine["busy_before_percent"] = busy_percent;
  write_file(out.json_file, to_json(r).dump(2) + "\n");
  write_file(out.html_file, to_html(r));
}

// A whole number in a range, with a sentence that says so.
template <class Integer>
CLI::Validator whole_number(Integer low, Integer high) {
  auto check = [=](std::string& text) -> std::string {
    errno = 0;
    char* end = nullptr;
    long long v = std::strtoll(text.c_str(), &end, 10);
    bool usable = !text.empty() && *end == '\0' && errno == 0;
    if (usable && v >= static_cast<long long>(low) && v <= static_cast<long long>(high)) return {};
    return fmt::format("'{}' is not a whole number from {} to {}", text, low, high);
  };
  return CLI::Validator(check, fmt::format("{} to {}", low, high));
}

CLI::Validator seconds_between(double low, double high) {
  auto check = [=](std::string& text) -> std::string {
    char* end = nullptr;
    double v = std::strtod(text.c_str(), &end);
    if (!text.empty() && *end == '\0' && v >= low && v <= high) return {};
    return fmt::format("'{}' is not a time from {} to {} seconds", text, low, high);
  };
  return CLI::Validator(check, fmt::format("{} to {} s", low, high));
}

template <class Options>
void add_models_option(CLI::App* command, const std::shared_ptr<Options>& o) {
  command
      ->add_option("--models", o->models,
                   fmt::format("which models, with commas between them [{}]", fmt::join(Options::all_models, ",")))
      ->delimiter(',')
      ->type_name("NAMES")
      ->check(CLI::IsMember(Options::all_models));
}

void add_output_options(CLI::App* command, const std::shared_ptr<outputs>& out) {
  command->add_option("--json", out->json_file, "write the results to FILE as JSON")->type_name("FILE");
  command->add_option("--html", out->html_file, "write one self-contained page with plots to FILE")->type_name("FILE");
}

// `run` gets a progress display and returns the experiments it ran.
template <class Run>
void when_chosen(CLI::App* command, Run run) {
  auto out = std::make_shared<outputs>();
  add_output_options(command, out);
  command->callback([=] {
    check_writable(out->json_file);
    check_writable(out->html_file);
    prepare_for_children();
    progress shown;
    double busy_percent = tell_if_busy();
    write_outputs(*out, run(shown), busy_percent);
  });
}

experiment printed(experiment e) {
  print(e);
  return e;
}

void add_million(CLI::App* lab) {
  auto o = std::make_shared<million_options>();
  CLI::App* c = lab->add_subcommand("million", "a million activities that all sleep at once: time and memory");
  c->add_option("-n,--count", o->count, "how many activities [1000000]")
      ->check(whole_number<std::int64_t>(1, o->count_max));
  c->add_option("--sleep", o->sleep_s, "how long each sleeps [long enough for all to be alive at once]")
      ->check(seconds_between(0, 3600));
  add_models_option(c, o);
  when_chosen(c, [=](progress& shown) { return std::vector{printed(run_million(*o, shown))}; });
}

void add_c10k(CLI::App* lab) {
  auto o = std::make_shared<c10k_options>();
  CLI::App* c = lab->add_subcommand("c10k", "a TCP server with 10,000 connections: throughput, latency, memory, CPU");
  c->add_option("-n,--connections", o->connections, "how many connections [10000]")
      ->check(whole_number<std::int64_t>(1, o->connections_max));
  c->add_option("--seconds", o->seconds, "how long to measure each model [10]")->check(seconds_between(0.1, 3600));
  c->add_option("--wait-ms", o->wait_ms, "how long each request waits for its \"database\" [100]")
      ->check(whole_number(0, 60'000));
  c->add_option("--pool", o->pool_threads, "threads in the fixed pool [200]")->check(whole_number(1, 10'000));
  c->add_option("--port", o->port, "port of the servers on 127.0.0.1 [any free one]")->check(whole_number(1, 65'535));
  c->add_option("--server-processors", o->server_processors,
                "processors for the server; the client gets the others [half]")
      ->check(whole_number(1, 1024));
  add_models_option(c, o);
  when_chosen(c, [=](progress& shown) { return std::vector{printed(run_c10k(*o, shown))}; });
}

void add_costs(CLI::App* lab) {
  auto o = std::make_shared<costs_options>();
  CLI::App* c = lab->add_subcommand("costs", "what create, switch, message and rest cost");
  c->add_option("--scale", o->scale, "how often everything is repeated; 1 is quick [5]")->check(whole_number(1, 1000));
  add_models_option(c, o);
  when_chosen(c, [=](progress& shown) { return std::vector{printed(run_costs(*o, shown))}; });
}

void add_hog(CLI::App* lab) {
  auto o = std::make_shared<hog_options>();
  CLI::App* c = lab->add_subcommand("hog", "what activities that never yield do to the others");
  c->add_option("--seconds", o->seconds, "how long each case runs [3]")->check(seconds_between(0.1, 3600));
  add_models_option(c, o);
  when_chosen(c, [=](progress& shown) { return std::vector{printed(run_hog(*o, shown))}; });
}

void add_crash(CLI::App* lab) {
  auto o = std::make_shared<crash_options>();
  CLI::App* c = lab->add_subcommand("crash", "many jobs that compute, of which one crashes in the middle");
  c->add_option("-n,--jobs", o->jobs, "how many jobs [1000]")->check(whole_number(1, 1'000'000));
  c->add_option("--job-ms", o->job_ms, "how long each computes, in ms [2]")->check(CLI::Range(0.0, 10'000.0));
  add_models_option(c, o);
  when_chosen(c, [=](progress& shown) { return std::vector{printed(run_crash(*o, shown))}; });
}

}  // namespace

void add_lab_command(CLI::App& program) {
  CLI::App* lab = program.add_subcommand(
      "lab", "the laboratory: fibers and tasks measured beside processes, threads and event loops");
  lab->description(
      "The laboratory measures thrum's fibers and stackless tasks beside every older way to do many things at once:\n"
      "processes, OS threads, a pool of threads, an event loop with callbacks.\n"
      "New here? Run `thrum lab tour`: all five experiments, explained, in under two minutes.");
  lab->footer(
      "Each experiment prints a table; --json FILE and --html FILE keep the results.\n"
      "The models are small files that can be read: lab/models/ in the sources.");
  lab->require_subcommand(1);
  add_million(lab);
  add_c10k(lab);
  add_costs(lab);
  add_hog(lab);
  add_crash(lab);
  CLI::App* tour = lab->add_subcommand("tour", "a short version of all five, explained, in under two minutes");
  when_chosen(tour, [](progress& shown) { return run_tour(shown); });
}

}  // namespace thrum::lab
