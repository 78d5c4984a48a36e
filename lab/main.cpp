// The command `thrum`: parses the command line and turns whatever goes wrong into one sentence and an exit
// status.
//
// Exit status: 0 success, 1 a failed experiment, 2 a wrong command line, 128 + n ended by signal n.

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <string>
#include <thrum/process_pool.hpp>

#include "lab/failure.hpp"
#include "lab/lab_command.hpp"

namespace {

int complain(const std::string& sentence, int status) {
  bool terminal = isatty(STDERR_FILENO) == 1;
  std::string end = sentence.empty() || sentence.back() != '.' ? "." : "";
  std::fputs(fmt::format("{}thrum: {}{}\n", terminal ? "\r\033[K" : "", sentence, end).c_str(), stderr);
  return status;
}

// CLI11's sentences can span lines; ours is one.
std::string on_one_line(std::string text) {
  for (char& c : text)
    if (c == '\n') c = ' ';
  return text;
}

constexpr const char* where_help_is = " (`thrum --help` and `thrum lab --help` explain the options)";

// CLI11 would only say that a sub-command is missing, not that it does not know the word it got.
std::string what_is_missing(const CLI::App& program, const CLI::RequiredError& e) {
  std::vector<std::string> unknown = program.remaining(/*recurse=*/true);
  return unknown.empty() ? e.what() : fmt::format("'{}' is not known here", unknown.front());
}

int run(CLI::App& program, int argc, char** argv) {
  try {
    program.parse(argc, argv);
    bool written = std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
    return written ? 0 : complain("cannot write to standard output", 1);
  } catch (const CLI::Success& e) {
    return program.exit(e);
  } catch (const CLI::RequiredError& e) {
    return complain(what_is_missing(program, e) + where_help_is, 2);
  } catch (const CLI::ParseError& e) {
    return complain(on_one_line(e.what()) + where_help_is, 2);
  } catch (const thrum::lab::interrupted& e) {
    return complain("interrupted", 128 + e.signal_number);
  } catch (const std::exception& e) {
    return complain(on_one_line(e.what()), 1);
  }
}

}  // namespace

int main(int argc, char** argv) {
  thrum::process_pool::serve_if_worker();  // For the model crash/process-pool.
  if (argc == 4 && std::strcmp(argv[1], "lab-child") == 0) return thrum::lab::run_lab_child(argv[2], argv[3]);
  CLI::App program("thrum: blocking code, event-driven, on every core", "thrum");
  program.set_version_flag("--version", std::string("thrum ") + THRUM_VERSION);
  program.require_subcommand(1);
  thrum::lab::add_lab_command(program);
  return run(program, argc, argv);
}
