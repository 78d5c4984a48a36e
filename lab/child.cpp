// Starting, hearing and ending child processes. Used from the main thread only.

#include "lab/child.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "lab/failure.hpp"
#include "lab/limits.hpp"

namespace thrum::lab {
namespace {

// A signal must end a poll() that has just been entered as well as one about to be: hence a pipe, not a flag.
std::array<int, 2> interruption{-1, -1};

void on_signal(int number) {
  int saved = errno;
  auto byte = static_cast<unsigned char>(number);
  [[maybe_unused]] ssize_t n = write(interruption[1], &byte, 1);
  errno = saved;
}

void throw_if_interrupted() {
  unsigned char byte = 0;
  if (read(interruption[0], &byte, 1) == 1) throw interrupted(byte);
}

void close_quietly(int& fd) {
  if (fd >= 0) close(fd);
  fd = -1;
}

// Keeps `count` of the available processors, from the front or (negative) from the back.
void keep_processors(int count) {
  cpu_set_t have;
  CPU_ZERO(&have);
  if (count == 0 || sched_getaffinity(0, sizeof have, &have) != 0) return;
  int skip = count > 0 ? 0 : std::max(0, CPU_COUNT(&have) + count);
  int left = std::abs(count);
  cpu_set_t keep;
  CPU_ZERO(&keep);
  for (int cpu = 0; cpu < CPU_SETSIZE && left > 0; ++cpu) {
    if (!CPU_ISSET(cpu, &have) || skip-- > 0) continue;
    CPU_SET(cpu, &keep);
    --left;
  }
  sched_setaffinity(0, sizeof keep, &keep);
}

[[noreturn]] void become(const std::string& model, const std::string& order, int in, int out, int processors,
                         pid_t parent) {
  setpgid(0, 0);
  die_with_parent(parent);
  for (int s : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) signal(s, SIG_DFL);
  dup2(in, STDIN_FILENO);
  dup2(out, STDOUT_FILENO);
  keep_processors(processors);
  execl("/proc/self/exe", "thrum", "lab-child", model.c_str(), order.c_str(), static_cast<char*>(nullptr));
  _exit(127);
}

std::string how_it_died(const siginfo_t& info) {
  if (info.si_code == CLD_EXITED) return fmt::format("ended with status {}", info.si_status);
  return fmt::format("was killed by signal {} ({})", info.si_status, strsignal(info.si_status));
}

}  // namespace

void prepare_for_children() {
  if (interruption[0] >= 0) return;
  if (pipe2(interruption.data(), O_CLOEXEC | O_NONBLOCK) != 0)
    throw failure(fmt::format("cannot open a pipe: {}", std::generic_category().message(errno)));
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  signal(SIGPIPE, SIG_IGN);
  struct sigaction action {};
  action.sa_handler = on_signal;
  for (int s : {SIGINT, SIGTERM, SIGHUP}) sigaction(s, &action, nullptr);
}

child::child(const std::string& model, const json& order, int processors) : model_(model) {
  throw_if_interrupted();
  std::array<int, 2> down{-1, -1};
  std::array<int, 2> up{-1, -1};
  if (pipe2(down.data(), O_CLOEXEC) != 0) throw failure(explain_descriptors(errno));
  if (pipe2(up.data(), O_CLOEXEC) != 0) {
    int error = errno;
    for (int& fd : down) close_quietly(fd);
    throw failure(explain_descriptors(error));
  }
  from_child_ = up[0];
  to_child_ = down[1];
  std::string text = order.dump();
  pid_t parent = getpid();
  pid_ = fork();
  int error = errno;
  if (pid_ == 0) become(model_, text, down[0], up[1], processors, parent);
  close_quietly(down[0]);
  close_quietly(up[1]);
  if (pid_ < 0) {
    end();
    throw failure(fmt::format("cannot start a process for {}: {}", model_, explain_kernel_tasks(error)));
  }
  setpgid(pid_, pid_);  // Here too, as either side may run first.
}

child::~child() { end(); }

void child::end() {
  close_quietly(from_child_);
  close_quietly(to_child_);
  if (pid_ <= 0) return;
  kill(-pid_, SIGKILL);
  while (waitpid(-pid_, nullptr, 0) > 0 || errno == EINTR) {
  }
  pid_ = -1;
}

std::optional<json> child::take_line() {
  std::size_t end_of_line = pending_.find('\n');
  if (end_of_line == std::string::npos) return std::nullopt;
  json message = json::parse(pending_.substr(0, end_of_line), nullptr, false);
  pending_.erase(0, end_of_line + 1);
  if (message.is_discarded()) throw failure(fmt::format("{} sent something that is not a message", model_));
  if (message.contains("error")) throw failure(message["error"].get<std::string>());
  return message;
}

// Reads what is there, waiting for at most `patience`; false when nothing came in time.
bool child::fill(seconds patience) {
  auto limit = std::chrono::steady_clock::now() + std::chrono::duration_cast<std::chrono::nanoseconds>(patience);
  for (;;) {
    auto left = std::chrono::ceil<std::chrono::milliseconds>(limit - std::chrono::steady_clock::now());
    std::array<pollfd, 2> wait{{{from_child_, POLLIN, 0}, {interruption[0], POLLIN, 0}}};
    int ready = poll(wait.data(), wait.size(), static_cast<int>(std::max<std::int64_t>(left.count(), 0)));
    throw_if_interrupted();
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return false;
    std::array<char, 65536> buffer;
    ssize_t n = read(from_child_, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    at_end_ = n <= 0;
    if (n > 0) pending_.append(buffer.data(), static_cast<std::size_t>(n));
    return true;
  }
}

// Leaves the dead leader unreaped: its id, which is the group's too, must not be reused before end().
void child::expect_success() {
  siginfo_t info{};
  while (waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT) != 0 && errno == EINTR)
    throw_if_interrupted();
  if (info.si_code == CLD_EXITED && info.si_status == 0) return;
  if (info.si_code == CLD_EXITED && info.si_status == 127) throw failure("cannot start this program again as a child");
  throw died(fmt::format("the process that ran {} {}", model_, how_it_died(info)));
}

std::optional<json> child::next(seconds patience) {
  for (;;) {
    if (auto message = take_line()) return message;
    if (at_end_) {
      expect_success();
      return std::nullopt;
    }
    if (!fill(patience))
      throw failure(fmt::format("{} said nothing for {:.0f} s and was ended", model_, patience.count()));
  }
}

std::optional<json> child::next_if_any() {
  auto message = take_line();
  if (message || at_end_) return message;
  return fill(seconds(0)) ? take_line() : std::nullopt;
}

void child::release() { close_quietly(to_child_); }

void say(const json& message) {
  std::string line = message.dump() + "\n";
  std::string_view rest = line;
  while (!rest.empty()) {
    ssize_t n = write(STDOUT_FILENO, rest.data(), rest.size());
    if (n < 0 && errno != EINTR) _exit(1);  // Nobody listens any more.
    if (n > 0) rest.remove_prefix(static_cast<std::size_t>(n));
  }
}

void wait_for_parent() {
  char byte = 0;
  while (read(STDIN_FILENO, &byte, 1) < 0 && errno == EINTR) {
  }
}

void die_with_parent(pid_t expected_parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != expected_parent) _exit(1);  // It died before the request was made.
}

}  // namespace thrum::lab
