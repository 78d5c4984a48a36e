// Starting a child: posix_spawn(3), whose vfork-like clone copies no page tables and reports exec's errors.
//
// Rejected: fork and exec, which copies the page tables of a process with large stacks and has to run code between the
// two in the child of a program with threads; clone of our own with CLONE_PIDFD, for which the sanitizers and glibc's
// locks would have to be understood, and which would only close the gap before pidfd_open(2) for programs that ignore
// SIGCHLD.
#include <thrum/process.hpp>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <utility>

#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "process/child.hpp"
#include "process/pipe_calls.hpp"
#include "sched/diagnose.hpp"

extern "C" char** environ;

namespace thrum {

// What the child needs until it has been started.
struct spawning {
  explicit spawning(const process_options& o) : options(o) {
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawnattr_init(&attributes);
  }
  ~spawning() {
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
    for (const int fd : theirs) ::close(fd);
  }
  spawning(const spawning&) = delete;
  spawning& operator=(const spawning&) = delete;

  void prepare(process& p);
  int start(const std::vector<std::string>& argv);

  std::error_code error;

 private:
  using what = redirect::what;

  void note(int failure) {
    if (failure != 0 && !error) error.assign(failure, std::generic_category());
  }
  void prepare_attributes();
  void open_terminal();
  void connect(int number, redirect r, int pipe_end);
  void duplicate(int number, int fd);

  const process_options& options;
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  std::vector<int> theirs;  // Duplicates to be closed once the child has them.
  pipe_reader their_in;
  pipe_writer their_out, their_err;
};

namespace {

// The child's end of a pipe is in blocking mode: it belongs to a program that knows nothing of us.
void make_blocking(int fd) noexcept { ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) & ~O_NONBLOCK); }

bool can_be_reopened(int fd) noexcept {
  struct stat s;
  return ::fstat(fd, &s) == 0 && (S_ISFIFO(s.st_mode) || S_ISCHR(s.st_mode));
}

// A duplicate, close-on-exec, with a number above the child's three. Of a pipe or terminal in non-blocking mode, such
// as an end of make_pipe(): opened once more, since the mode belongs to the description and few programs can do with
// it.
int duplicate_for_child(int fd) noexcept {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags >= 0 && (flags & O_NONBLOCK) && can_be_reopened(fd)) {
    std::array<char, 32> path;
    std::snprintf(path.data(), path.size(), "/proc/self/fd/%d", fd);
    // Non-blocking at first: opening a pipe waits for its other end.
    const int own = ::open(path.data(), (flags & O_ACCMODE) | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (own >= 0) {
      make_blocking(own);
      const int above = ::fcntl(own, F_DUPFD_CLOEXEC, 3);
      ::close(own);
      return above;
    }
  }
  return ::fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

std::vector<char*> pointers_to(const std::vector<std::string>& words) {
  std::vector<char*> all;
  for (const auto& w : words) all.push_back(const_cast<char*>(w.c_str()));
  all.push_back(nullptr);
  return all;
}

int open_pidfd(pid_t pid) noexcept { return static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)); }

void kill_unwatched(pid_t pid) noexcept {
  ::kill(pid, SIGKILL);
  while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace

std::unique_ptr<detail::child> detail::watch_started(int pid, bool leads_group, std::error_code& error) {
  const int pidfd = open_pidfd(pid);
  if (pidfd >= 0) return std::make_unique<child>(pidfd, pid, leads_group);
  error = last_system_error();
  // Somebody has reaped it already: its number may be another's.
  if (error == std::errc::no_such_process)
    error = std::make_error_code(std::errc::no_child_process);
  else
    kill_unwatched(pid);
  return nullptr;
}

void spawning::prepare(process& p) {
  const auto wants_pipe = [](redirect r) { return r.what_ == what::pipe; };
  const auto make = [this] { return error ? pipe_ends{} : make_pipe(error); };
  if (wants_pipe(options.in)) {
    auto ends = make();
    their_in = std::move(ends.reader), p.in = std::move(ends.writer);
  }
  if (wants_pipe(options.out)) {
    auto ends = make();
    their_out = std::move(ends.writer), p.out = std::move(ends.reader);
  }
  if (wants_pipe(options.err)) {
    auto ends = make();
    their_err = std::move(ends.writer), p.err = std::move(ends.reader);
  }
  if (error) return;
  if (!options.terminal.empty()) open_terminal();
  connect(STDIN_FILENO, options.in, their_in.native_handle());
  connect(STDOUT_FILENO, options.out, their_out.native_handle());
  connect(STDERR_FILENO, options.err, their_err.native_handle());
  if (!options.directory.empty()) note(::posix_spawn_file_actions_addchdir_np(&actions, options.directory.c_str()));
  prepare_attributes();
}

// The leader of a session that opens a terminal, which no other session has, is controlled by it. It is opened for good
// only as one of the three, so each stream that is to be it opens it for itself.
void spawning::open_terminal() {
  bool opened = false;
  for (const auto& [number, stream] :
       {std::pair{STDIN_FILENO, options.in}, {STDOUT_FILENO, options.out}, {STDERR_FILENO, options.err}}) {
    if (stream != redirect::inherit()) continue;
    note(::posix_spawn_file_actions_addopen(&actions, number, options.terminal.c_str(), O_RDWR, 0));
    opened = true;
  }
  if (!opened) note(EINVAL);
}

void spawning::connect(int number, redirect r, int pipe_end) {
  switch (r.what_) {
    case what::inherited:
      break;
    case what::null:
      note(::posix_spawn_file_actions_addopen(&actions, number, "/dev/null", O_RDWR, 0));
      break;
    case what::pipe:
      make_blocking(pipe_end);
      duplicate(number, pipe_end);
      break;
    case what::descriptor:
      duplicate(number, r.fd_);
      break;
    case what::output:
      note(number == STDERR_FILENO ? ::posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, number) : EINVAL);
      break;
  }
}

// From a number above the three, which the actions before it have not changed.
void spawning::duplicate(int number, int fd) {
  const int above = duplicate_for_child(fd);
  if (above < 0) return note(errno);
  theirs.push_back(above);
  note(::posix_spawn_file_actions_adddup2(&actions, above, number));
}

void spawning::prepare_attributes() {
  short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
  sigset_t mask, standard;
  if (!sched::mask_before_runtime(mask)) ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
  sigemptyset(&standard);
  sigaddset(&standard, SIGPIPE);
  note(::posix_spawnattr_setsigmask(&attributes, &mask));
  note(::posix_spawnattr_setsigdefault(&attributes, &standard));
  if (!options.terminal.empty()) {
    flags |= POSIX_SPAWN_SETSID;
  } else if (options.new_group) {
    flags |= POSIX_SPAWN_SETPGROUP;
    note(::posix_spawnattr_setpgroup(&attributes, 0));
  }
  note(::posix_spawnattr_setflags(&attributes, flags));
}

int spawning::start(const std::vector<std::string>& argv) {
  const auto arguments = pointers_to(argv);
  const auto variables = options.environment ? pointers_to(*options.environment) : std::vector<char*>();
  char* const* const environment = options.environment ? variables.data() : environ;
  pid_t pid = 0;
  note(::posix_spawnp(&pid, arguments.front(), &actions, &attributes, arguments.data(), environment));
  if (error) return 0;
  return pid;
}

process process::spawn(const std::vector<std::string>& argv, const process_options& options, std::error_code& error) {
  error.clear();
  if (detail::refused_in_simulation(error)) return {};
  process p;
  spawning s(options);
  if (argv.empty()) s.error = std::make_error_code(std::errc::invalid_argument);
  if (!s.error) s.prepare(p);
  const int pid = s.error ? 0 : s.start(argv);
  error = s.error;
  if (error) return {};
  p.child_ = detail::watch_started(pid, options.new_group || !options.terminal.empty(), error);
  if (error) return {};
  return p;
}

process process::spawn(const std::vector<std::string>& argv, const process_options& options) {
  std::error_code error;
  auto p = spawn(argv, options, error);
  if (error) throw std::system_error(error, "thrum: cannot run " + (argv.empty() ? "nothing" : argv.front()));
  return p;
}

}  // namespace thrum
