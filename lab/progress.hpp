// Progress on standard error: a line that renews itself on a terminal, one brief line per model elsewhere.
#pragma once

#include <string>

namespace thrum::lab {

class progress {
 public:
  progress();
  ~progress() { clear(); }
  progress(const progress&) = delete;
  progress& operator=(const progress&) = delete;

  // A new piece of work, such as "million: 1,000,000 fibers".
  void begin(const std::string& work);
  // How far it is, from 0 to 1, and a word on what happens now.
  void update(double fraction, const std::string& detail);
  // Takes the line away, before anything else is printed.
  void clear();

 private:
  bool terminal_;
  bool visible_ = false;
  std::string work_;
};

}  // namespace thrum::lab
