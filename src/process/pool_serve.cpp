// The worker: a loop in plain blocking code, without a runtime. It knows nothing but its four descriptors.
//
// It ends when the pipe with the calls does. While a call runs nobody looks at that pipe, so it has a second one, whose
// end makes the kernel kill the worker's process group: SIGIO of the reading end is SIGKILL. That belongs to the file,
// not to a thread of the parent as PR_SET_PDEATHSIG does, needs no thread here, and no code of the functions can block
// it.
#include <thrum/process_pool.hpp>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <typeinfo>
#include <vector>

#include <cxxabi.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/report.hpp"
#include "os/thread.hpp"
#include "process/pool_frame.hpp"
#include "process/pool_serve.hpp"

namespace thrum::detail {
namespace {

std::atomic<bool> program_serves{false};

[[noreturn]] void give_up(const char* sentence) {
  os::report("thrum: a worker of a process_pool: %s\n", sentence);
  ::_exit(2);
}

[[noreturn]] void end_worker() noexcept {
  std::fflush(nullptr);
  ::_exit(0);
}

bool started_as_worker() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::string name, word, more;
  std::getline(file, name, '\0');
  std::getline(file, word, '\0');
  return word == worker_word && !std::getline(file, more, '\0');
}

void die_with_the_pool() {
  const int fd = worker_fd::life;
  if (::fcntl(fd, F_SETSIG, SIGKILL) != 0 || ::fcntl(fd, F_SETOWN, -::getpgrp()) != 0 ||
      ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_ASYNC) != 0)
    give_up("it cannot watch its parent.");
  pollfd p{.fd = fd, .events = POLLIN, .revents = 0};
  if (::poll(&p, 1, 0) != 0) ::_exit(0);  // Before the kernel was asked to tell.
}

// A process that a function forks must not keep the pipes open when the worker has ended.
void forget_descriptors() noexcept {
  for (int fd = worker_fd::calls; fd < worker_fd::end; ++fd) ::close(fd);
}

void prepare_descriptors() {
  for (int fd = worker_fd::calls; fd < worker_fd::end; ++fd) {
    struct stat s;
    if (::fstat(fd, &s) != 0 || !(S_ISFIFO(s.st_mode) || S_ISSOCK(s.st_mode)))
      give_up("it was started by something else than a pool.");
    ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  }
  ::pthread_atfork(nullptr, nullptr, &forget_descriptors);
}

// What the process has allocated so far stays outside of the limit.
void limit_memory(std::uint64_t bytes) {
  std::ifstream status("/proc/self/status");
  std::uint64_t used = 0;
  for (std::string line; std::getline(status, line);)
    if (line.rfind("VmData:", 0) == 0) used = std::strtoull(line.c_str() + 7, nullptr, 10) * 1024;
  const rlimit limit{used + bytes, used + bytes};
  if (::setrlimit(RLIMIT_DATA, &limit) != 0) give_up("its memory cannot be limited.");
}

// Sends SIGXCPU when a call has used up its CPU time. (RLIMIT_CPU counts whole seconds, from the process's start.)
class cpu_clock {
 public:
  explicit cpu_clock(std::int64_t max_ns) : max_ns_(max_ns) {
    sigevent event{};
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = SIGXCPU;
    if (max_ns_ > 0 && ::timer_create(CLOCK_PROCESS_CPUTIME_ID, &event, &timer_) != 0)
      give_up("its CPU time cannot be limited.");
  }
  void start() { set(max_ns_); }
  void stop() { set(0); }

 private:
  void set(std::int64_t ns) {
    if (max_ns_ <= 0) return;
    const itimerspec t{.it_interval = {}, .it_value = {.tv_sec = ns / 1'000'000'000, .tv_nsec = ns % 1'000'000'000}};
    ::timer_settime(timer_, 0, &t, nullptr);
  }

  const std::int64_t max_ns_;
  timer_t timer_{};
};

std::string type_name(const std::type_info& type) {
  char* name = abi::__cxa_demangle(type.name(), nullptr, nullptr, nullptr);
  std::string text = name ? name : type.name();
  std::free(name);
  return text;
}

// Most calls are of the function that was called before.
class code_cache {
 public:
  void* at(const code_place& place) noexcept {
    if (place.module != place_.module || place.offset != place_.offset) {
      place_ = place;
      code_ = code_at(place);
    }
    return code_;
  }

 private:
  code_place place_{};
  void* code_ = nullptr;
};

class call_loop {
 public:
  [[noreturn]] void run() {
    const auto setup = read_frame<worker_setup>().value();
    cookie_ = setup.frame.cookie;
    if (setup.memory_max > 0) limit_memory(setup.memory_max);
    cpu_clock clock(setup.cpu_time_max_ns);
    memory_is_limited_ = setup.memory_max > 0;
    begin_answer();
    send_answer(frame_kind::hello);
    for (;;) serve(clock);
  }

 private:
  void serve(cpu_clock& clock) {
    const auto head = read_frame<call_header>();
    begin_answer();
    if (!head) return send_answer(frame_kind::out_of_memory);
    std::vector<net::descriptor> descriptors;
    const auto count = head->frame.descriptors;
    if (count > 0 && !receive_descriptors(worker_fd::descriptors, count, descriptors))
      give_up("descriptors are missing.");
    wire_reader in(std::span<const std::byte>(in_.data(), size_).subspan(sizeof *head), descriptors);
    const auto thunk = reinterpret_cast<remote_thunk>(thunk_.at(head->thunk));
    const auto function = reinterpret_cast<any_function>(function_.at(head->function));
    clock.start();
    const auto kind = thunk && function ? call(thunk, function, in) : frame_kind::bad_arguments;
    clock.stop();
    std::fflush(stdout);
    send_answer(kind);
  }

  frame_kind call(remote_thunk thunk, any_function f, wire_reader& in) {
    try {
      thunk(in, out_, f);
      return frame_kind::result;
    } catch (const std::bad_alloc&) {
      if (memory_is_limited_) return failed(frame_kind::out_of_memory, "");
      return failed(frame_kind::exception, "std::bad_alloc");
    } catch (const wire_error& e) {
      return failed(in.ended() ? frame_kind::exception : frame_kind::bad_arguments, e.what());
    } catch (const std::exception& e) {
      return failed(frame_kind::exception, type_name(typeid(e)) + ": " + e.what());
    } catch (...) {
      return failed(frame_kind::exception, type_name(*abi::__cxa_current_exception_type()));
    }
  }

  frame_kind failed(frame_kind kind, const std::string& text) {
    begin_answer();
    out_.put(text.data(), text.size());
    return kind;
  }

  void begin_answer() {
    out_.bytes().resize(sizeof(frame_header));
    out_.descriptors().clear();
  }

  void send_answer(frame_kind kind) {
    auto& bytes = out_.bytes();
    const frame_header head{.cookie = cookie_,
                            .sequence = sequence_,
                            .size = bytes.size() - sizeof(frame_header),
                            .kind = kind,
                            .descriptors = static_cast<std::uint32_t>(out_.descriptors().size())};
    std::memcpy(bytes.data(), &head, sizeof head);
    if (head.descriptors > 0 && !send_descriptors(worker_fd::descriptors, out_.descriptors()))
      give_up("it cannot send descriptors.");
    for (std::size_t at = 0; at < bytes.size();) {
      const auto n = ::write(worker_fd::answers, bytes.data() + at, bytes.size() - at);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) end_worker();
      at += static_cast<std::size_t>(n);
    }
    out_.descriptors().clear();
    give_back_room(bytes);
  }

  // The next frame, which most often comes in one piece, is in in_. Empty: there was no memory for it.
  template <class Head>
  std::optional<Head> read_frame() {
    give_back_room(in_);
    if (in_.size() < piece) in_.resize(piece);
    std::size_t have = 0;
    while (have < sizeof(Head)) have += read_some(std::span(in_).subspan(have));
    Head head;
    std::memcpy(&head, in_.data(), sizeof head);
    sequence_ = head.frame.sequence;
    size_ = sizeof(frame_header) + head.frame.size;
    try {
      if (size_ > in_.size()) in_.resize(size_);
    } catch (const std::bad_alloc&) {
      while (have < size_) have += read_some(std::span(in_).first(std::min(piece, size_ - have)));
      return {};
    }
    while (have < size_) have += read_some(std::span(in_).subspan(have));
    return head;
  }

  static std::size_t read_some(std::span<std::byte> buffer) {
    for (;;) {
      const auto n = ::read(worker_fd::calls, buffer.data(), buffer.size());
      if (n > 0) return static_cast<std::size_t>(n);
      if (n == 0 || errno != EINTR) end_worker();
    }
  }

  // After a large message.
  static void give_back_room(std::vector<std::byte>& bytes) {
    if (bytes.capacity() > room_kept) bytes = std::vector<std::byte>();
  }

  static constexpr std::size_t piece = 64 * 1024, room_kept = std::size_t{1} << 20;

  std::uint64_t cookie_ = 0, sequence_ = 0;
  bool memory_is_limited_ = false;
  code_cache thunk_, function_;
  std::vector<std::byte> in_;  // The frame is its first size_ bytes.
  std::size_t size_ = 0;
  wire_writer out_;
};

}  // namespace

bool program_serves_workers() noexcept { return program_serves.load(std::memory_order_relaxed); }

}  // namespace thrum::detail

namespace thrum {

void process_pool::serve_if_worker() {
  detail::program_serves.store(true, std::memory_order_relaxed);
  if (!detail::started_as_worker()) return;
  os::name_thread("pool-worker");  // It is called by what was executed otherwise: exe.
  detail::prepare_descriptors();
  detail::die_with_the_pool();
  detail::call_loop().run();
}

}  // namespace thrum
