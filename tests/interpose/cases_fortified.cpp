// The functions that programs call instead when they were compiled with _FORTIFY_SOURCE, and the size of a buffer is
// known where the amount is not.
#include <memory>

#include <sys/types.h>

#include <poll.h>

#include "cases.hpp"

extern "C" {
ssize_t __read_chk(int, void*, size_t, size_t);
ssize_t __recv_chk(int, void*, size_t, size_t, int);
ssize_t __recvfrom_chk(int, void*, size_t, size_t, int, sockaddr*, socklen_t*);
int __poll_chk(pollfd*, nfds_t, int, size_t);
int __ppoll_chk(pollfd*, nfds_t, const timespec*, const sigset_t*, size_t);
}

namespace interpose_cases {
namespace {

void fortified(record& r) {
  auto e = ends::sockets();
  char data[8];
  const auto soon = [&] { return std::make_unique<later>([&] { (void)!::write(e.b, "x", 1); }); };
  auto writer = soon();
  r.call("read", [&] { return __read_chk(e.a, data, sizeof data, sizeof data); });
  writer = soon();
  r.call("recv", [&] { return __recv_chk(e.a, data, sizeof data, sizeof data, 0); });
  writer = soon();
  r.call("recvfrom", [&] { return __recvfrom_chk(e.a, data, sizeof data, sizeof data, 0, nullptr, nullptr); });
  pollfd one{.fd = e.a, .events = POLLIN, .revents = 0};
  writer = soon();
  r.call("poll", [&] { return __poll_chk(&one, 1, -1, sizeof one); });
  r.call("read", [&] { return __read_chk(e.a, data, sizeof data, sizeof data); });
  writer = soon();
  r.call("ppoll", [&] { return __ppoll_chk(&one, 1, nullptr, nullptr, sizeof one); });
}

}  // namespace

cases fortified_cases() { return {{"fortified", &fortified}}; }

}  // namespace interpose_cases
