// Child processes and signals: a pipeline of programs, a program with a time limit, and an orderly end on SIGTERM.
#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <string>
#include <system_error>

#include <thrum/thrum.hpp>

using namespace std::chrono_literals;

// seq 1 1000 | grep 7 | wc -l
void count_numbers_with_a_seven() {
  using thrum::process, thrum::redirect;
  auto first = thrum::make_pipe(), second = thrum::make_pipe();
  auto seq = process::spawn({"seq", "1", "1000"}, {.out = redirect::to(first.writer.native_handle())});
  auto grep = process::spawn({"grep", "7"}, {.in = redirect::to(first.reader.native_handle()),
                                             .out = redirect::to(second.writer.native_handle())});
  auto wc = process::spawn({"wc", "-l"}, {.in = redirect::to(second.reader.native_handle()), .out = redirect::pipe()});
  first = {};
  second = {};  // The children have them: without our copies they see the end.
  std::array<std::byte, 64> text;
  const auto n = wc.out.read_some(text);
  std::printf("numbers with a seven: %.*s", static_cast<int>(n), reinterpret_cast<const char*>(text.data()));
  const bool all_well = seq.wait().success() && grep.wait().success() && wc.wait().success();
  std::printf("%s\n", all_well ? "all went well" : "one has failed");
}

void be_patient_for_a_moment() {
  std::error_code error;
  thrum::run_process({"sleep", "1000"}, {}, {.timeout = 50ms}, {}, error);
  std::printf("sleep: %s\n", error == std::errc::timed_out ? "timed out" : "ended");
}

// Works until it is told to end, and then finishes what it has begun.
void work_until_sigterm() {
  thrum::signal_set ends{SIGINT, SIGTERM};
  thrum::channel<int> jobs(1);
  jobs.send(1);
  auto teller = thrum::process::spawn({"sh", "-c", "kill -TERM $PPID"});
  int done = 0;
  bool ending = false;
  while (!ending)
    thrum::select(jobs.on_receive([&](auto) { ++done; }), ends.on_receive([&](auto n) { ending = n == SIGTERM; }));
  while (jobs.try_receive()) ++done;
  teller.wait();
  std::printf("told to end; %d job done\n", done);
}

int main() {
  return thrum::run([] {
    count_numbers_with_a_seven();
    be_patient_for_a_moment();
    work_until_sigterm();
  });
}
