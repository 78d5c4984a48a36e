// A library that knows nothing of fibers, as C libraries are: a client that blocks in connect, write and read. A
// thousand fibers use it at once, on two workers.
#include <array>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <thrum/thrum.hpp>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace library {

// The answer to a question, or -1.
int ask(std::uint16_t port, int question) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in server{};
  server.sin_family = AF_INET;
  server.sin_port = htons(port);
  server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int answer = -1;
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&server), sizeof server) != 0 ||
      ::write(fd, &question, sizeof question) != sizeof question || ::read(fd, &answer, sizeof answer) != sizeof answer)
    answer = -1;
  ::close(fd);
  return answer;
}

}  // namespace library

namespace {

constexpr int clients = 1000;

void serve(thrum::net::tcp_listener& listener, thrum::scope& s) {
  for (int i = 0; i < clients; ++i)
    s.go([stream = listener.accept()]() mutable {
      std::array<std::byte, sizeof(int)> number;
      stream.read_exactly(number);
      thrum::this_fiber::sleep_for(std::chrono::milliseconds(20));  // All of them have asked by then, or nearly all.
      stream.write_all(number);
    });
}

}  // namespace

int main() {
  return thrum::run({.workers = 2}, [] {
    auto listener = thrum::net::tcp_listener::bind("127.0.0.1:0");
    std::atomic<int> right{0};
    thrum::scope s;
    s.go([&] { serve(listener, s); });
    for (int i = 0; i < clients; ++i) s.go([&, i] { right += library::ask(listener.local_port(), i) == i; });
    s.join();
    std::printf("%d right answers\n", right.load());
    return 0;
  });
}
