// Starting and ending workers, and the pipes to them.
//
// A worker is started by posix_spawn(3) of /proc/self/exe, for the reasons in docs/decisions/0026.
#include "process/pool_worker.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <mutex>
#include <utility>

#include <fcntl.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "process/pipe_calls.hpp"

extern "C" char** environ;

namespace thrum::detail {
namespace {

// What one side has of the connection; a worker's are in blocking mode, and above the numbers that they will have.
struct worker_ends {
  net::descriptor calls, answers, descriptors, life;
};

class worker_spawning {
 public:
  worker_spawning() {
    ::posix_spawn_file_actions_init(&actions_);
    ::posix_spawnattr_init(&attributes_);
  }
  ~worker_spawning() {
    ::posix_spawn_file_actions_destroy(&actions_);
    ::posix_spawnattr_destroy(&attributes_);
  }
  worker_spawning(const worker_spawning&) = delete;
  worker_spawning& operator=(const worker_spawning&) = delete;

  // Its number; 0 with an error.
  pid_t start(std::error_code& error) {
    connect();
    give(theirs_.calls, worker_fd::calls);
    give(theirs_.answers, worker_fd::answers);
    give(theirs_.descriptors, worker_fd::descriptors);
    give(theirs_.life, worker_fd::life);
    note(::posix_spawn_file_actions_addopen(&actions_, STDIN_FILENO, "/dev/null", O_RDONLY, 0));
    note(::posix_spawn_file_actions_addclosefrom_np(&actions_, worker_fd::end));
    as_a_program_of_its_own();
    const std::array<char*, 3> words{::program_invocation_name, const_cast<char*>(worker_word), nullptr};
    pid_t pid = 0;
    if (failure_ == 0) note(::posix_spawn(&pid, "/proc/self/exe", &actions_, &attributes_, words.data(), environ));
    error.assign(failure_, std::generic_category());
    return failure_ == 0 ? pid : 0;
  }

  worker_ends ours;

 private:
  void note(int failure) {
    if (failure_ == 0) failure_ = failure;
  }

  void connect() {
    make_pipe_between(theirs_.calls, ours.calls);
    make_pipe_between(ours.answers, theirs_.answers);
    make_pipe_between(theirs_.life, ours.life);
    std::array<int, 2> ends;
    if (failure_ == 0 && ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) note(errno);
    if (failure_ == 0) ours.descriptors = net::descriptor(ends[0]), theirs_.descriptors = net::descriptor(ends[1]);
    for (auto* d : {&ours.calls, &ours.answers})
      if (failure_ == 0 && ::fcntl(d->native_handle(), F_SETFL, O_NONBLOCK) != 0) note(errno);
  }

  void make_pipe_between(net::descriptor& reader, net::descriptor& writer) {
    std::array<int, 2> ends;
    if (failure_ == 0 && ::pipe2(ends.data(), O_CLOEXEC) != 0) note(errno);
    if (failure_ == 0) reader = net::descriptor(ends[0]), writer = net::descriptor(ends[1]);
  }

  // Through a number above all of theirs, so that giving one does not overwrite another.
  void give(net::descriptor& d, int number) {
    if (failure_ != 0) return;
    net::descriptor above(::fcntl(d.native_handle(), F_DUPFD_CLOEXEC, worker_fd::end));
    if (!above.is_open()) return note(errno);
    d = std::move(above);
    note(::posix_spawn_file_actions_adddup2(&actions_, d.native_handle(), number));
  }

  void as_a_program_of_its_own() {
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    sigdelset(&all, SIGKILL);
    sigdelset(&all, SIGSTOP);
    note(::posix_spawnattr_setsigmask(&attributes_, &none));
    note(::posix_spawnattr_setsigdefault(&attributes_, &all));
    note(::posix_spawnattr_setpgroup(&attributes_, 0));
    note(::posix_spawnattr_setflags(&attributes_,
                                    POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP));
  }

  worker_ends theirs_;
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
  int failure_ = 0;
};

std::uint64_t random_cookie() noexcept {
  std::uint64_t cookie = 0;
  if (::getrandom(&cookie, sizeof cookie, 0) != sizeof cookie) cookie = 0x7468'7275'6d70'6f6f;
  return cookie;
}

}  // namespace

struct pool_pipe::reading {
  pool_pipe& of;
  std::span<std::byte> into;
  long operator()(int fd, std::uint64_t before) const noexcept {
    of.before_ = before;
    return transfer<read_call>{of, direction::reading, {into}}(fd);
  }
};

long pool_pipe::read(std::span<std::byte> into, std::int64_t deadline_ns, std::error_code& error) {
  return perform(direction::reading, error, reading{*this, into}, deadline_ns);
}

long pool_pipe::write(std::span<const std::byte> from, std::int64_t deadline_ns, std::error_code& error) {
  return perform(direction::writing, error, transfer<write_call>{*this, direction::writing, {from}}, deadline_ns);
}

task<long> pool_pipe::async_read(std::span<std::byte> into, std::int64_t deadline_ns, std::error_code& error) {
  return async_perform(direction::reading, error, reading{*this, into}, deadline_ns);
}

task<long> pool_pipe::async_write(std::span<const std::byte> from, std::int64_t deadline_ns, std::error_code& error) {
  return async_perform(direction::writing, error, transfer<write_call>{*this, direction::writing, {from}}, deadline_ns);
}

int pool_pipe::unread() const noexcept {
  int bytes = 0;
  return ::ioctl(native_handle(), FIONREAD, &bytes) == 0 ? bytes : 0;
}

void pool_worker::start(const worker_start& how, std::error_code& error) {
  worker_spawning spawning;
  const pid_t pid = spawning.start(error);
  if (error) return;
  auto started = watch_started(pid, true, error);
  if (error) return;
  calls = pool_pipe(std::move(spawning.ours.calls));
  answers = pool_pipe(std::move(spawning.ours.answers));
  descriptors = std::move(spawning.ours.descriptors);
  life_ = std::move(spawning.ours.life);
  cookie = random_cookie();
  sequence = 0;
  serves = false;
  have = 0;
  {
    std::lock_guard held(lock_);
    process_ = std::move(started);
  }
  const worker_setup setup{.frame = {.cookie = cookie,
                                     .sequence = 0,
                                     .size = sizeof(worker_setup) - sizeof(frame_header),
                                     .kind = frame_kind::setup,
                                     .descriptors = 0},
                           .memory_max = how.memory_max,
                           .cpu_time_max_ns = how.cpu_time_max_ns};
  // There is room in the pipe. If the worker has gone already, its hello will be missed.
  (void)write_call{std::as_bytes(std::span(&setup, 1))}(calls.native_handle());
}

void pool_worker::kill() noexcept {
  std::lock_guard held(lock_);
  if (process_) process_->send_to_all(SIGKILL);
}

void pool_worker::forget() noexcept {
  std::unique_ptr<child> gone;
  {
    std::lock_guard held(lock_);
    gone = std::move(process_);
  }
  if (!gone) return;
  gone.reset();  // And what is left of its group.
  calls.close();
  answers.close();
  descriptors.close();
  life_.close();
  serves = false;
}

}  // namespace thrum::detail
