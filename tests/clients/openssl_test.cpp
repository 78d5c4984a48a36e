// OpenSSL's blocking BIOs in fibers, plain and with TLS, against servers of thrum's own.
#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <thrum/net/server.hpp>
#include <thrum/net/tls_stream.hpp>

#include "client_support.hpp"
#include "tcp_support.hpp"
#include "tls/certificates.hpp"

namespace thrum {
namespace {

using namespace test;

class openssl_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, openssl_test, worker_counts, count_name);

struct release {
  void operator()(BIO* b) const { BIO_free_all(b); }
  void operator()(SSL_CTX* c) const { SSL_CTX_free(c); }
};
using bio = std::unique_ptr<BIO, release>;

void echo(auto& stream) {
  std::array<std::byte, 4096> buffer;
  while (const auto n = stream.read_some(buffer)) stream.write_all(std::span(buffer).first(n));
}

// With a reset, as a peer that has crashed.
void cut(tcp_stream& c) {
  const linger at_once{1, 0};
  EXPECT_EQ(::setsockopt(c.native_handle(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
  c.close();
}

void write_whole(const bio& b, const std::string& text) {
  for (std::size_t done = 0; done < text.size();) {
    const int n = BIO_write(b.get(), text.data() + done, static_cast<int>(text.size() - done));
    ASSERT_GT(n, 0) << ERR_reason_error_string(ERR_peek_error());
    done += static_cast<std::size_t>(n);
  }
}
std::string read_exactly(const bio& b, std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t done = 0; done < size;) {
    const int n = BIO_read(b.get(), text.data() + done, static_cast<int>(size - done));
    if (n <= 0) return text.substr(0, done);
    done += static_cast<std::size_t>(n);
  }
  return text;
}

// f(the address of a server whose connections go to the handler).
template <class F>
void beside(std::function<void(tcp_stream)> handler, F f) {
  net::server server(tcp_listener::bind("127.0.0.1:0"), std::move(handler));
  auto serving = spawn([&] { server.serve(); });
  f(here(server.listener()));
  server.shutdown(hang_guard);
  serving.join();
}

bio connected(const std::string& address) {
  bio b(BIO_new_connect(address.c_str()));
  EXPECT_EQ(BIO_do_connect(b.get()), 1) << ERR_reason_error_string(ERR_peek_error());
  return b;
}

TEST_P(openssl_test, a_thousand_plain_connections_echo) {
  run([&] {
    beside([](tcp_stream c) { echo(c); },
           [&](const std::string& address) {
             constexpr int many = 1000;
             latch connected_all(many);
             std::atomic<int> right{0};
             in_fibers(many, [&](int i) {
               const auto b = connected(address);
               connected_all.arrive_and_wait();
               if (i % 100 == 0) expect_few_threads(GetParam());
               for (int n = 0; n < 3; ++n) {
                 const auto text = "message " + std::to_string(n) + " of fiber " + std::to_string(i);
                 write_whole(b, text);
                 right += read_exactly(b, text.size()) == text;
               }
             });
             EXPECT_EQ(right, 3 * many);
           });
  });
}

TEST_P(openssl_test, blocking_tls_talks_to_our_server) {
  test::certificates authority;
  const auto server = net::tls_context::server({.certificate = authority.issue("localhost", "DNS:localhost")});
  const std::unique_ptr<SSL_CTX, release> client(SSL_CTX_new(TLS_client_method()));
  ASSERT_EQ(SSL_CTX_load_verify_locations(client.get(), authority.authority_file().c_str(), nullptr), 1);
  SSL_CTX_set_verify(client.get(), SSL_VERIFY_PEER, nullptr);
  run([&] {
    beside(
        [&](tcp_stream c) {
          auto stream = net::tls_stream::accept(server, std::move(c));
          echo(stream);
        },
        [&](const std::string& address) {
          constexpr int many = 100;
          latch connected_all(many);
          std::atomic<int> right{0};
          in_fibers(many, [&](int i) {
            const bio b(BIO_new_ssl_connect(client.get()));
            SSL* ssl = nullptr;
            BIO_get_ssl(b.get(), &ssl);
            SSL_set_mode(ssl, SSL_MODE_AUTO_RETRY);
            SSL_set1_host(ssl, "localhost");
            BIO_set_conn_hostname(b.get(), address.c_str());
            EXPECT_EQ(BIO_do_connect(b.get()), 1) << ERR_reason_error_string(ERR_peek_error());
            EXPECT_EQ(SSL_get_verify_result(ssl), X509_V_OK);
            connected_all.arrive_and_wait();
            if (i == 0) expect_few_threads(GetParam());
            const std::string text(10'000, static_cast<char>('a' + i % 26));
            for (int n = 0; n < 10; ++n) {
              write_whole(b, text);
              right += read_exactly(b, text.size()) == text;
            }
          });
          EXPECT_EQ(right, 10 * many);
        });
  });
}

TEST_P(openssl_test, the_end_a_cut_and_a_time_limit_are_told_apart) {
  run([&] {
    std::atomic<int> asked{0};
    beside(
        [&](tcp_stream c) {
          const auto how = read_whole(c, 1);
          ++asked;
          if (how == "c") cut(c);
          if (how == "s") read_whole(c, 1);  // Silent until the client leaves.
        },
        [&](const std::string& address) {
          in_fibers(30, [&](int i) {
            const auto b = connected(address);
            const std::string how = i % 3 == 0 ? "e" : i % 3 == 1 ? "c" : "s";
            int fd = -1;
            BIO_get_fd(b.get(), &fd);
            const timeval limit{0, 20'000};
            if (how == "s") ASSERT_EQ(::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
            write_whole(b, how);
            char byte = 0;
            errno = 0;
            const int n = BIO_read(b.get(), &byte, 1);
            const int error = errno;
            if (how == "e") {
              EXPECT_EQ(n, 0);
            } else {
              EXPECT_EQ(n, -1);
              EXPECT_EQ(error, how == "c" ? ECONNRESET : EAGAIN);
              EXPECT_EQ(BIO_should_retry(b.get()) != 0, how == "s");
            }
          });
        });
    EXPECT_EQ(asked, 30);
  });
}

}  // namespace
}  // namespace thrum
