// The report writer: whole, bounded, and without a trace in errno.
#include "os/report.hpp"

#include <cerrno>
#include <string>

#include <unistd.h>

#include <gtest/gtest.h>

namespace thrum::os {
namespace {

template <class F>
std::string written_to_stderr(F f) {
  int ends[2];
  if (::pipe(ends) != 0) return {};
  const int before = ::dup(STDERR_FILENO);
  ::dup2(ends[1], STDERR_FILENO);
  f();
  ::dup2(before, STDERR_FILENO);
  ::close(before);
  ::close(ends[1]);
  std::string text(8192, '\0');
  const auto n = ::read(ends[0], text.data(), text.size());
  text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  ::close(ends[0]);
  return text;
}

TEST(report, formats_as_printf_does) {
  EXPECT_EQ(written_to_stderr([] { report("%s %d %zu\n", "text", -1, std::size_t{2}); }), "text -1 2\n");
}

TEST(report, cuts_what_is_longer_than_a_kibibyte) {
  const std::string much(5000, 'x');
  EXPECT_EQ(written_to_stderr([&] { report("%s", much.c_str()); }), std::string(1023, 'x'));
}

TEST(report, leaves_errno_alone_also_when_nobody_listens) {
  const int before = ::dup(STDERR_FILENO);
  ::close(STDERR_FILENO);
  errno = 42;
  report("lost\n");
  EXPECT_EQ(errno, 42);
  ::dup2(before, STDERR_FILENO);
  ::close(before);
}

}  // namespace
}  // namespace thrum::os
