// One side of a TLS connection, on memory: bytes from the peer go in, bytes for the peer come out; nothing waits.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <system_error>
#include <vector>

#include <openssl/ssl.h>

namespace thrum::net {

struct ssl_deleter {
  void operator()(SSL_CTX* c) const noexcept { SSL_CTX_free(c); }
  void operator()(SSL* s) const noexcept { SSL_free(s); }
  void operator()(SSL_SESSION* s) const noexcept { SSL_SESSION_free(s); }
};
using ssl_context_ptr = std::unique_ptr<SSL_CTX, ssl_deleter>;
using ssl_session_ptr = std::unique_ptr<SSL_SESSION, ssl_deleter>;

// What OpenSSL has put into the calling thread's queue of errors since it was cleared.
std::error_code last_tls_error() noexcept;

// The caller sees to it that one thread at a time is in it.
class tls_engine {
 public:
  enum class outcome { done, ended, needs_input, failed };

  // Throws std::bad_alloc.
  explicit tls_engine(SSL_CTX* context);
  // OpenSSL would declare the session bad unless both sides had said farewell; TLS 1.1 has given that rule up.
  ~tls_engine() { SSL_set_shutdown(ssl(), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); }

  SSL* ssl() const noexcept { return ssl_.get(); }
  // Whom a client greets, and expects the certificate to be for.
  bool expect(const std::string& host) noexcept;

  outcome handshake(std::error_code& error) noexcept;
  outcome read(std::span<std::byte> buffer, std::size_t& count, std::error_code& error) noexcept;
  outcome write(std::span<const std::byte> data, std::size_t& count, std::error_code& error) noexcept;
  outcome say_farewell(std::error_code& error) noexcept;

  void give_input(std::span<const std::byte> data);
  bool has_output() const noexcept { return BIO_ctrl_pending(out_) != 0; }
  void take_output(std::vector<std::byte>& to);

 private:
  template <class Call>
  outcome perform(std::error_code& error, Call call) noexcept;
  std::error_code failure() const noexcept;

  std::unique_ptr<SSL, ssl_deleter> ssl_;
  BIO* in_;  // Owned by ssl_, as the other.
  BIO* out_;
};

}  // namespace thrum::net
