// libc's blocking calls, each used as a program would, with what came of it as a text: the same whoever calls, a thread
// or a fiber, with interposition or without. Knows nothing of thrum.
#pragma once

#include <cerrno>
#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace interpose_cases {

using namespace std::chrono_literals;

// What came of a case.
class record {
 public:
  // The call's result, and what it leaves in errno.
  template <class Call>
  auto call(std::string_view what, Call f) {
    errno = 0;
    const auto result = f();
    const int error = errno;
    note(what, result);
    if (error != 0) text_ += " errno " + std::to_string(error);
    return result;
  }
  template <class Value>
  void note(std::string_view what, const Value& value) {
    text_ += text_.empty() ? "" : ", ";
    text_.append(what) += ' ';
    if constexpr (std::is_convertible_v<Value, std::string_view>)
      text_.append(value);
    else
      text_ += std::to_string(value);
  }
  // The same, and whether it took as long as it must.
  template <class Call>
  auto call_for(std::chrono::milliseconds time, std::string_view what, Call f) {
    const auto start = std::chrono::steady_clock::now();
    const auto result = call(what, f);
    // The kernel counts some of its time-outs in ticks of up to 10 ms, the first of which is cut short.
    note("in time", std::chrono::steady_clock::now() - start >= time / 2);
    return result;
  }
  std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

// Somebody else, a plain thread, does it a little later: nearly always when the case waits already.
class later {
 public:
  explicit later(std::function<void()> f)
      : thread_([f = std::move(f)] {
          std::this_thread::sleep_for(3ms);
          f();
        }) {}
  ~later() { thread_.join(); }
  later(const later&) = delete;
  later& operator=(const later&) = delete;

 private:
  std::thread thread_;
};

// Two descriptors that are connected: sockets, or a pipe, of which `a` is for reading.
struct ends {
  int a = -1, b = -1;

  static ends sockets(int type = SOCK_STREAM) {
    int fds[2];
    if (::socketpair(AF_UNIX, type, 0, fds) != 0) return {};
    return {fds[0], fds[1]};
  }
  static ends pipe() {
    int fds[2];
    if (::pipe(fds) != 0) return {};
    return {fds[0], fds[1]};
  }
  ends(int a, int b) : a(a), b(b) {}
  ends() = default;
  ends(ends&& other) noexcept : a(std::exchange(other.a, -1)), b(std::exchange(other.b, -1)) {}
  ends& operator=(ends&& other) noexcept {
    std::swap(a, other.a);
    std::swap(b, other.b);
    return *this;
  }
  ~ends() {
    close_a();
    close_b();
  }
  void close_a() {
    if (a >= 0) ::close(std::exchange(a, -1));
  }
  void close_b() {
    if (b >= 0) ::close(std::exchange(b, -1));
  }
};

// A number that was a descriptor's, and will be nobody else's: no other case uses one as high.
inline int closed_number(int lowest) {
  const auto p = ends::pipe();
  const int fd = ::fcntl(p.a, F_DUPFD, lowest);
  ::close(fd);
  return fd;
}

struct one_case {
  const char* name;
  void (*run)(record&);
};
using cases = std::vector<one_case>;

cases transfer_cases();
cases message_cases();
cases poll_cases();
cases socket_cases();
cases other_cases();
cases fortified_cases();

inline cases all_cases() {
  cases all;
  for (auto* some : {&transfer_cases, &message_cases, &poll_cases, &socket_cases, &other_cases, &fortified_cases})
    for (const auto& c : some()) all.push_back(c);
  return all;
}

inline std::string outcome_of(const one_case& c) {
  record r;
  c.run(r);
  return r.take();
}

}  // namespace interpose_cases
