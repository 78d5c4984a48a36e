// Sleeping, looking up hosts, children, locks of files, fifos, the end of descriptors.
#include <cstring>
#include <ctime>

#include <arpa/inet.h>
#include <netdb.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "cases.hpp"

namespace interpose_cases {
namespace {

void sleeps(record& r) {
  const timespec shortly{.tv_sec = 0, .tv_nsec = 10'000'000};
  r.call_for(10ms, "nanosleep", [&] { return ::nanosleep(&shortly, nullptr); });
  r.call_for(10ms, "usleep", [&] { return ::usleep(10'000); });
  r.call("none", [&] { return ::usleep(0); });
  r.call("none", [&] { return ::sleep(0); });
  for (const clockid_t clock : {CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME}) {
    r.call_for(10ms, "clock", [&] { return ::clock_nanosleep(clock, 0, &shortly, nullptr); });
    timespec until;
    ::clock_gettime(clock, &until);
    r.call("past", [&] { return ::clock_nanosleep(clock, TIMER_ABSTIME, &until, nullptr); });
    until.tv_nsec += 10'000'000;
    if (until.tv_nsec >= 1'000'000'000) until = {until.tv_sec + 1, until.tv_nsec - 1'000'000'000};
    r.call("until", [&] { return ::clock_nanosleep(clock, TIMER_ABSTIME, &until, nullptr); });
    timespec now;
    ::clock_gettime(clock, &now);
    r.note("reached", now.tv_sec > until.tv_sec || (now.tv_sec == until.tv_sec && now.tv_nsec >= until.tv_nsec));
  }
  const timespec wrong{.tv_sec = 0, .tv_nsec = 1'000'000'000};
  r.call("wrong", [&] { return ::nanosleep(&wrong, nullptr); });
  r.call("wrong", [&] { return ::clock_nanosleep(CLOCK_MONOTONIC, 0, &wrong, nullptr); });
  r.call("no clock", [&] { return ::clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &shortly, nullptr); });
  r.call("no clock", [&] { return ::clock_nanosleep(4711, 0, &shortly, nullptr); });
}

void a_second(record& r) {
  r.call_for(1s, "sleep", [] { return ::sleep(1); });
}

void note_host(record& r, const hostent* h) {
  r.note("found", h != nullptr);
  if (!h) return r.note("h_errno", h_errno);
  r.note("name", h->h_name);
  char text[64] = "none";
  if (h->h_addr_list[0]) ::inet_ntop(h->h_addrtype, h->h_addr_list[0], text, sizeof text);
  r.note("address", text);
}

// Without errno, which libc does not promise.
void hosts(record& r) {
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  r.note("number", ::getaddrinfo("127.0.0.7", "80", &hints, &found));
  char host[64], service[64];
  r.note("name", ::getnameinfo(found->ai_addr, found->ai_addrlen, host, sizeof host, service, sizeof service,
                               NI_NUMERICHOST | NI_NUMERICSERV));
  r.note("host", host);
  r.note("service", service);
  ::freeaddrinfo(found);
  r.note("no number", ::getaddrinfo("nobody", "80", &hints, &found));
  r.note("no service", ::getaddrinfo("127.0.0.1", "there is no such service", &hints, &found));
  r.note("nothing", ::getaddrinfo(nullptr, nullptr, &hints, &found));
  r.note("without hints", ::getaddrinfo("::1", "http", nullptr, &found));
  r.note("family", found->ai_family);
  r.note("flags", found->ai_flags);
  r.note("port", ntohs(reinterpret_cast<sockaddr_in6*>(found->ai_addr)->sin6_port));
  ::freeaddrinfo(found);
  r.note("figures", ::getaddrinfo("127.1", "8080", nullptr, &found));
  r.note("their flags", found->ai_flags);
  r.note("their port", ntohs(reinterpret_cast<sockaddr_in*>(found->ai_addr)->sin_port));
  ::freeaddrinfo(found);
  hints.ai_flags = AI_PASSIVE;
  r.note("to listen", ::getaddrinfo(nullptr, "8080", &hints, &found));
  r.note("flags then", found->ai_flags);
  ::freeaddrinfo(found);
  hints.ai_flags = 0;
  hints.ai_family = AF_INET;
  r.note("localhost", ::getaddrinfo("localhost", nullptr, &hints, &found));
  ::inet_ntop(AF_INET, &reinterpret_cast<sockaddr_in*>(found->ai_addr)->sin_addr, host, sizeof host);
  r.note("address", host);
  ::freeaddrinfo(found);
}

void hosts_the_old_way(record& r) {
  hostent room{};
  hostent* found = nullptr;
  char text[2048];
  int error = -1;
  r.note("reentrant", ::gethostbyname_r("localhost", &room, text, sizeof text, &found, &error));
  note_host(r, found);
  r.note("room", ::gethostbyname_r("localhost", &room, text, 1, &found, &error) != 0);
  r.note("error", error);
  in_addr address{};
  address.s_addr = htonl(INADDR_LOOPBACK);
  r.note("by address", ::gethostbyaddr_r(&address, sizeof address, AF_INET, &room, text, sizeof text, &found, &error));
  note_host(r, found);
  r.note("family", ::gethostbyname2_r("127.0.0.3", AF_INET, &room, text, sizeof text, &found, &error));
  note_host(r, found);
  note_host(r, ::gethostbyname2("127.0.0.5", AF_INET));
  note_host(r, ::gethostbyaddr(&address, 3, AF_INET));
}

constexpr int stops = -1;

// Ends with the code, or stops itself. Has nobody's descriptors by then: who waits for the end of a pipe would wait for
// the child, too, and the fibers of its thread with it.
pid_t child(int code, std::chrono::milliseconds after) {
  const pid_t pid = ::fork();
  if (pid != 0) return pid;
  ::syscall(SYS_close_range, 3, ~0U, 0);
  const timespec time{.tv_sec = after.count() / 1000, .tv_nsec = after.count() % 1000 * 1'000'000};
  ::nanosleep(&time, nullptr);
  if (code == stops) ::kill(::getpid(), SIGSTOP);
  ::_exit(code);
}

void children(record& r) {
  int status = -1;
  const pid_t one = child(7, 5ms);
  r.call("waitpid", [&] { return ::waitpid(one, &status, 0) == one; });
  r.note("status", status);
  r.call("gone", [&] { return ::waitpid(one, &status, 0); });
  siginfo_t info{};
  const pid_t two = child(9, 5ms);
  r.call("waitid", [&] { return ::waitid(P_PID, static_cast<id_t>(two), &info, WEXITED | WNOWAIT); });
  r.note("status", info.si_status);
  r.note("who", info.si_pid == two);
  r.call("waitid", [&] { return ::waitid(P_PID, static_cast<id_t>(two), nullptr, WEXITED); });
  r.call("gone", [&] { return ::waitid(P_PID, static_cast<id_t>(two), &info, WEXITED); });
  r.call("bad options", [&] { return ::waitid(P_PID, static_cast<id_t>(two), &info, 0); });
  const pid_t three = child(3, 1000s);
  r.call("at once", [&] { return ::waitpid(three, &status, WNOHANG); });
  {
    const later killer([&] { ::kill(three, SIGKILL); });
    r.call("killed", [&] { return ::waitpid(three, &status, 0) == three; });
  }
  r.note("status", status);
}

// A child in a process group of its own, so that whoever waits for any of the group gets none of other cases'.
pid_t child_in_a_group(int code, std::chrono::milliseconds after) {
  const pid_t pid = child(code, after);
  ::setpgid(pid, pid);
  return pid;
}

// Whichever ends first; and what waits for them knows nothing of pidfds.
void any_child(record& r) {
  int status = -1;
  const pid_t one = child_in_a_group(1, 5ms);
  r.call("any", [&] { return ::waitpid(-one, &status, 0) == one; });
  r.note("status", status);
  rusage usage{};
  const pid_t two = child_in_a_group(2, 5ms);
  r.call("wait4", [&] { return ::wait4(-two, &status, 0, &usage) == two; });
  r.note("status", status);
  siginfo_t info{};
  const pid_t three = child_in_a_group(3, 5ms);
  r.call("waitid", [&] { return ::waitid(P_PGID, static_cast<id_t>(three), &info, WEXITED); });
  r.note("who", info.si_pid == three);
  const pid_t four = child_in_a_group(stops, 5ms);
  r.call("stopped", [&] { return ::waitpid(four, &status, WUNTRACED) == four; });
  r.note("stopped", WIFSTOPPED(status));
  r.call("not now", [&] { return ::waitpid(-four, &status, WNOHANG); });
  ::kill(four, SIGKILL);
  r.call("killed", [&] { return ::waitpid(-four, &status, 0) == four; });
  r.call("nobody", [&] { return ::waitpid(-four, &status, 0); });
  r.call("bad options", [&] { return ::waitpid(-1, &status, 0x1000); });
}

struct temporary_file {
  char name[32] = "/tmp/thrum_case_XXXXXX";
  int fd = ::mkstemp(name);
  ~temporary_file() {
    ::close(fd);
    ::unlink(name);
  }
};

void locks(record& r) {
  const temporary_file f;
  const int other = ::open(f.name, O_RDWR);
  r.call("lock", [&] { return ::flock(f.fd, LOCK_EX); });
  r.call("not now", [&] { return ::flock(other, LOCK_EX | LOCK_NB); });
  {
    const later opener([&] { ::flock(f.fd, LOCK_UN); });
    r.call("lock", [&] { return ::flock(other, LOCK_EX); });
  }
  struct flock whole {};
  whole.l_type = F_WRLCK;
  r.call("lock", [&] { return ::fcntl(f.fd, F_OFD_SETLK, &whole); });
  r.call("not now", [&] { return ::fcntl(other, F_OFD_SETLK, &whole); });
  {
    const later opener([&] {
      struct flock none {};
      none.l_type = F_UNLCK;
      ::fcntl(f.fd, F_OFD_SETLK, &none);
    });
    r.call("lock", [&] { return ::fcntl(other, F_OFD_SETLKW, &whole); });
  }
  whole.l_type = F_UNLCK;
  r.call("unlock", [&] { return ::fcntl(other, F_OFD_SETLK, &whole); });
  r.call("section", [&] { return ::lockf(f.fd, F_LOCK, 0); });
  r.call("mode", [&] { return ::fcntl(other, F_GETFL) & O_ACCMODE; });
  r.call("bad", [&] { return ::flock(-1, LOCK_EX); });
  r.call("bad", [&] { return ::fcntl(-1, F_SETLKW, &whole); });
  ::close(other);
}

// Locks of one process do not exclude each other: somebody else has them.
void locks_of_processes(record& r) {
  const temporary_file f;
  auto e = ends::sockets();
  const pid_t holder = ::fork();
  if (holder == 0) {
    const int file = ::fcntl(f.fd, F_DUPFD, 900), to_parent = ::fcntl(e.b, F_DUPFD, 900);
    ::syscall(SYS_close_range, 3, 899, 0);
    struct flock whole {};
    whole.l_type = F_WRLCK;
    ::fcntl(file, F_SETLK, &whole);
    char byte = 'x';
    (void)!::write(to_parent, &byte, 1);
    (void)!::read(to_parent, &byte, 1);
    ::_exit(0);
  }
  char byte;
  r.call("told", [&] { return ::read(e.a, &byte, 1); });
  struct flock whole {};
  whole.l_type = F_WRLCK;
  r.call("not now", [&] { return ::fcntl(f.fd, F_SETLK, &whole); });
  {
    const later opener([&] { (void)!::write(e.a, "x", 1); });
    r.call("lock", [&] { return ::fcntl(f.fd, F_SETLKW, &whole); });
  }
  r.call("section", [&] { return ::lockf(f.fd, F_LOCK, 10); });
  r.call("end", [&] { return ::waitpid(holder, nullptr, 0) == holder; });
}

void syncs(record& r) {
  const temporary_file f;
  (void)!::write(f.fd, "text", 4);
  r.call("fsync", [&] { return ::fsync(f.fd); });
  r.call("fdatasync", [&] { return ::fdatasync(f.fd); });
  auto p = ends::pipe();
  r.call("no file", [&] { return ::fsync(p.a); });
  r.call("bad", [&] { return ::fdatasync(-1); });
}

void fifos(record& r) {
  const auto name = "/tmp/thrum_case_" + std::to_string(::getpid()) + "_" + std::to_string(::gettid()) + ".fifo";
  r.call("make", [&] { return ::mkfifo(name.c_str(), 0600); });
  int reader = -1;
  {
    int writer = -1;
    {
      const later opener([&] { writer = ::open(name.c_str(), O_WRONLY); });
      r.call("open", [&] { return (reader = ::open(name.c_str(), O_RDONLY)) >= 0; });
    }
    char data[8];
    {
      const later talker([&] { (void)!::write(writer, "abc", 3); });
      r.call("read", [&] { return ::read(reader, data, sizeof data); });
    }
    ::close(writer);
    r.call("end", [&] { return ::read(reader, data, sizeof data); });
  }
  ::close(reader);
  ::unlink(name.c_str());
}

// Numbers that come to stand for something else between waits.
void numbers_are_used_again(record& r) {
  auto first = ends::sockets();
  auto second = ends::sockets();
  char data[8];
  {
    const later writer([&] { (void)!::write(first.b, "one", 3); });
    r.call("read", [&] { return ::read(first.a, data, sizeof data); });
  }
  const int kept = ::dup(first.a);
  r.call("dup2", [&] { return ::dup2(second.a, first.a) == first.a; });
  {
    const later writer([&] {
      (void)!::write(first.b, "old", 3);
      (void)!::write(second.b, "two!", 4);
    });
    r.call("read", [&] { return ::read(first.a, data, sizeof data); });
  }
  r.call("kept", [&] { return ::read(kept, data, sizeof data); });
  r.call("dup3", [&] { return ::dup3(kept, first.a, O_CLOEXEC) == first.a; });
  {
    const later writer([&] { (void)!::write(first.b, "three", 5); });
    r.call("read", [&] { return ::read(first.a, data, sizeof data); });
  }
  r.call("itself", [&] { return ::dup2(kept, kept) == kept; });
  r.call("itself", [&] { return ::dup3(kept, kept, 0); });
  r.call("bad", [&] { return ::dup2(-1, kept); });
  r.call("close", [&] { return ::close(kept); });
  r.call("closed", [&] { return ::close(closed_number(700)); });
}

// A stream of libc's own closes its descriptor unseen, and the number is used again.
void streams_close_unseen(record& r) {
  for (int i = 0; i < 3; ++i) {
    auto p = ends::pipe();
    FILE* in = ::fdopen(std::exchange(p.a, -1), "r");
    char line[16] = "";
    const later writer([&] {
      (void)!::write(p.b, "line", 4);
      p.close_b();
    });
    r.call("fgets", [&] { return std::fgets(line, sizeof line, in) != nullptr; });
    r.note("line", line);
    const int number = ::fileno(in);
    pollfd one{.fd = number, .events = POLLIN, .revents = 0};
    r.call("poll", [&] { return ::poll(&one, 1, -1); });
    r.note("events", one.revents);
    std::fclose(in);
  }
}

void mode_set_by_ioctl(record& r) {
  auto e = ends::sockets();
  int on = 1;
  char byte;
  r.call("ioctl", [&] { return ::ioctl(e.a, FIONBIO, &on); });
  r.call("recv", [&] { return ::recv(e.a, &byte, 1, 0); });
  on = 0;
  r.call("ioctl", [&] { return ::ioctl(e.a, FIONBIO, &on); });
  const later writer([&] { (void)!::write(e.b, "x", 1); });
  r.call("recv", [&] { return ::recv(e.a, &byte, 1, 0); });
}

}  // namespace

cases other_cases() {
  return {{"sleeps", &sleeps},
          {"a_second", &a_second},
          {"hosts", &hosts},
          {"hosts_the_old_way", &hosts_the_old_way},
          {"children", &children},
          {"any_child", &any_child},
          {"locks", &locks},
          {"locks_of_processes", &locks_of_processes},
          {"syncs", &syncs},
          {"fifos", &fifos},
          {"numbers_are_used_again", &numbers_are_used_again},
          {"streams_close_unseen", &streams_close_unseen},
          {"mode_set_by_ioctl", &mode_set_by_ioctl}};
}

}  // namespace interpose_cases
