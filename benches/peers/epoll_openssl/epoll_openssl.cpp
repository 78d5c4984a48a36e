// The yardstick for TLS: OpenSSL in a hand-written event loop. One thread, one epoll, edge-triggered, both directions
// registered once, one buffer for each connection; OpenSSL reads and writes the socket itself.
//
//   epoll_openssl tls --certificate FILE --key FILE --workers 1 [--port N] [--buffer BYTES]
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/epoll.h>

#include "../../server.hpp"

namespace {

struct connection {
  int socket;
  SSL* tls;
  std::size_t held = 0;  // bytes in the buffer that still have to go out
  std::vector<char> buffer;
};

class tls_server {
 public:
  explicit tls_server(const bench::options& o)
      : size_(o.buffer),
        context_(SSL_CTX_new(TLS_server_method())),
        epoll_(epoll_create1(EPOLL_CLOEXEC)),
        listener_(bench::listen_on_loopback(o.port)) {
    if (SSL_CTX_use_certificate_chain_file(context_, o.certificate.c_str()) != 1 ||
        SSL_CTX_use_PrivateKey_file(context_, o.key.c_str(), SSL_FILETYPE_PEM) != 1)
      bench::fail("--certificate and --key must name PEM files.");
    // As thrum's contexts: a record is written in parts when the socket is full, and the idle keep no buffers.
    SSL_CTX_set_mode(context_,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_min_proto_version(context_, TLS1_2_VERSION);
    SSL_CTX_set_options(context_, SSL_OP_NO_RENEGOTIATION);
    bench::no_delay(listener_);  // Which its connections inherit.
    fcntl(listener_, F_SETFL, O_NONBLOCK);
    watch(listener_, EPOLLIN | EPOLLET, nullptr);
  }

  [[noreturn]] void run() {
    epoll_event events[512];
    for (;;) {
      const int n = epoll_wait(epoll_, events, 512, -1);
      for (int i = 0; i < n; ++i) {
        auto* c = static_cast<connection*>(events[i].data.ptr);
        if (!c)
          accept_all();
        else if (!serve(*c))
          end(c);
      }
    }
  }

 private:
  void watch(int fd, uint32_t events, void* data) {
    epoll_event e{};
    e.events = events;
    e.data.ptr = data;
    if (epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &e) != 0) bench::fail("epoll_ctl refused a descriptor.", 1);
  }

  void accept_all() {
    for (;;) {
      const int fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) return;
      auto* c = new connection{fd, SSL_new(context_), 0, std::vector<char>(size_)};
      SSL_set_fd(c->tls, fd);
      SSL_set_accept_state(c->tls);
      watch(fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, c);
    }
  }

  // Goes on until OpenSSL wants an edge. The handshake is part of the first read. False: the connection has ended.
  bool serve(connection& c) {
    for (;;) {
      const int n = c.held > 0 ? SSL_write(c.tls, c.buffer.data(), int(c.held))
                               : SSL_read(c.tls, c.buffer.data(), int(c.buffer.size()));
      if (n <= 0) return wants_edge(c, n);
      if (c.held == 0) {
        c.held = std::size_t(n);
      } else {
        c.held -= std::size_t(n);
        std::memmove(c.buffer.data(), c.buffer.data() + n, c.held);
      }
    }
  }

  static bool wants_edge(connection& c, int result) {
    const int error = SSL_get_error(c.tls, result);
    ERR_clear_error();
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
  }

  static void end(connection* c) {
    SSL_free(c->tls);
    close(c->socket);
    delete c;
  }

  std::size_t size_;
  SSL_CTX* context_;
  int epoll_, listener_;
};

}  // namespace

int main(int argc, char** argv) {
  const auto o = bench::parse(argc, argv);
  if (o.bench != "tls")
    bench::fail("The epoll-openssl peer does not offer '" + o.bench + "'.", bench::exit_not_offered);
  bench::prepare_server();
  signal(SIGPIPE, SIG_IGN);  // OpenSSL writes without MSG_NOSIGNAL.
  tls_server(o).run();
}
