// Panics: one sentence, the fiber's context through the hook, abort.
#include "base/assert.hpp"

#include <atomic>
#include <cstdarg>
#include <cstdlib>

#include "os/report.hpp"

namespace thrum::base {
namespace {

std::atomic<panic_hook> hook{nullptr};

[[noreturn]] void finish() noexcept {
  // Only the first panic prints the context: a second one inside the hook would recurse.
  if (auto* h = hook.exchange(nullptr)) h();
  std::abort();
}

}  // namespace

void set_panic_hook(panic_hook h) noexcept { hook.store(h); }

void panic(const char* message) noexcept {
  os::report("thrum: fatal: %s\n", message);
  finish();
}

void panicf(const char* format, ...) noexcept {
  va_list args;
  va_start(args, format);
  os::report("thrum: fatal: ");
  os::vreport(format, args);
  os::report("\n");
  va_end(args);
  finish();
}

void assertion_failed(const char* expression, const char* file, int line) noexcept {
  os::report("thrum: assertion failed: %s (%s:%d)\n", expression, file, line);
  finish();
}

}  // namespace thrum::base
