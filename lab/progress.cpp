// See progress.hpp.

#include "lab/progress.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace thrum::lab {

progress::progress() : terminal_(isatty(STDERR_FILENO) == 1) {}

void progress::begin(const std::string& work) {
  work_ = work;
  if (terminal_)
    update(0, "");
  else
    std::fputs((work + "\n").c_str(), stderr);
}

void progress::update(double fraction, const std::string& detail) {
  if (!terminal_) return;
  constexpr int cells = 24;
  int full = static_cast<int>(std::clamp(fraction, 0.0, 1.0) * cells);
  std::fputs(fmt::format("\r\033[K{} [{:#<{}}{:.<{}}] {}", work_, "", full, "", cells - full, detail).c_str(), stderr);
  visible_ = true;
}

void progress::clear() {
  if (visible_) std::fputs("\r\033[K", stderr);
  visible_ = false;
}

}  // namespace thrum::lab
