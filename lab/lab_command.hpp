// The sub-command `thrum lab` and its hidden twin for child processes.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace thrum::lab {

// Adds `lab` with its experiments to the program; the chosen one runs while the command line is parsed.
void add_lab_command(CLI::App& program);

// Runs one model with its order (JSON); the exit status. What goes wrong is told to the parent as a message.
int run_lab_child(const std::string& model, const std::string& order);

}  // namespace thrum::lab
