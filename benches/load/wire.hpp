// A connection's bytes on their way: a TCP socket, or TLS on top of one. Nothing here waits, but for room to send.
#pragma once
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <system_error>
#ifdef THRUM_BENCH_TLS
#include <openssl/ssl.h>
#endif

#include "../bench.hpp"

namespace load {

#ifndef THRUM_BENCH_TLS
struct ssl_st;
using SSL = ssl_st;
#endif

// What all connections of TLS share; without OpenSSL, a sentence. Certificates are not verified (it would be the
// client's work, not the server's), and sessions not resumed: each handshake is a full one.
class tls_client {
 public:
  explicit tls_client([[maybe_unused]] bool wanted) {
#ifdef THRUM_BENCH_TLS
    if (!wanted) return;
    context_ = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_session_cache_mode(context_, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(context_, SSL_MODE_RELEASE_BUFFERS);
#else
    if (wanted) bench::fail("This load_client was built without OpenSSL.", bench::exit_not_offered);
#endif
  }

  SSL* start([[maybe_unused]] int socket) const {
#ifdef THRUM_BENCH_TLS
    if (!context_) return nullptr;
    SSL* s = SSL_new(context_);
    SSL_set_fd(s, socket);
    SSL_set_connect_state(s);
    return s;
#else
    return nullptr;
#endif
  }

 private:
#ifdef THRUM_BENCH_TLS
  SSL_CTX* context_ = nullptr;
#endif
};

class wire {
 public:
  // The kernel completes the connection at once, since its peer's listen queue is on the same machine. Each `turn` has
  // its own address of the loopback network in turn: connections that end leave their ports occupied for a minute.
  void connect(int port, unsigned turn, const tls_client& tls) {
    socket_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;
    setsockopt(socket_, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    auto from = address(INADDR_LOOPBACK + turn % source_addresses, 0), to = address(INADDR_LOOPBACK, port);
    if (socket_ < 0 || bind(socket_, reinterpret_cast<sockaddr*>(&from), sizeof from) != 0 ||
        ::connect(socket_, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0)
      bench::fail(std::string("Cannot connect to the server: ") + std::generic_category().message(errno) + ".", 1);
    tls_ = tls.start(socket_);
    shaken_ = tls_ == nullptr;
    if (tls_) fcntl(socket_, F_SETFL, O_NONBLOCK);
  }

  void close() {
#ifdef THRUM_BENCH_TLS
    if (tls_) SSL_shutdown(tls_);
    SSL_free(tls_);
    tls_ = nullptr;
#endif
    ::close(socket_);
    socket_ = -1;
  }

  int socket() const { return socket_; }

  // Goes on with the handshake, which is the client's first word; true when requests can be sent. Until then it blocks
  // only for room in the socket.
  bool shake_hands() {
#ifdef THRUM_BENCH_TLS
    if (!shaken_) {
      const int done = SSL_do_handshake(tls_);
      if (done != 1 && SSL_get_error(tls_, done) != SSL_ERROR_WANT_READ) bench::fail("A handshake failed.", 1);
      shaken_ = done == 1;
    }
#endif
    return shaken_;
  }

  // Bytes received; 0 when there are none yet. More may be there when the buffer has been filled.
  std::size_t receive(char* to, std::size_t size) {
#ifdef THRUM_BENCH_TLS
    if (tls_) {
      const int n = SSL_read(tls_, to, int(size));
      if (n <= 0 && SSL_get_error(tls_, n) != SSL_ERROR_WANT_READ) bench::fail("Reading an answer failed.", 1);
      return n > 0 ? std::size_t(n) : 0;
    }
#endif
    const ssize_t n = recv(socket_, to, size, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
    if (n <= 0) bench::fail("Reading an answer failed.", 1);
    return std::size_t(n);
  }
  // Whether a receive() that does not fill its buffer may leave bytes behind: TLS hands out one record at a time.
  bool in_records() const { return tls_ != nullptr; }

  // All of it: what is under way on a connection fits into its socket's buffers (main() sees to that).
  void send(const char* data, std::size_t size) {
#ifdef THRUM_BENCH_TLS
    if (tls_) {
      if (SSL_write(tls_, data, int(size)) != int(size)) bench::fail("Sending a request failed.", 1);
      return;
    }
#endif
    if (::send(socket_, data, size, MSG_NOSIGNAL) != ssize_t(size)) bench::fail("Sending a request failed.", 1);
  }

 private:
  static constexpr unsigned source_addresses = 200;

  static sockaddr_in address(unsigned host, int port) {
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_port = htons(static_cast<uint16_t>(port));
    a.sin_addr.s_addr = htonl(host);
    return a;
  }

  int socket_ = -1;
  SSL* tls_ = nullptr;
  bool shaken_ = true;
};

}  // namespace load
