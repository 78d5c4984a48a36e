// What TLS connections have in common: certificates, whom to trust, the protocols that are offered.
//
//   const auto server = thrum::net::tls_context::server({.certificate = {"server.pem", "server.key"}});
//   const auto client = thrum::net::tls_context::client();      // trusts whom the system trusts, and checks names
//
// In the library thrum_tls (CMake: thrum::tls), which needs OpenSSL 3. TLS 1.2 and 1.3; renegotiation is off.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

struct ssl_ctx_st;  // OpenSSL's SSL_CTX.

namespace thrum::net {

struct tls_certificate {
  std::string chain_file;  // PEM: the certificate, then those that lead to an authority.
  std::string key_file;    // PEM: its private key.
};

struct tls_client_options {
  std::string authorities_file{};                // PEM; empty: the authorities that the system trusts.
  bool verify = true;                            // False: any certificate for any name will do. For tests.
  std::optional<tls_certificate> certificate{};  // For servers that ask for one.
  std::vector<std::string> protocols{};          // Offered by ALPN, the best first: "h2", "http/1.1".
};

struct tls_server_options {
  tls_certificate certificate;
  std::map<std::string, tls_certificate> by_name{};  // Instead of it, for clients that ask for that name (SNI).
  std::string client_authorities_file{};             // PEM; clients must have a certificate from one of these.
  std::vector<std::string> protocols{};              // Accepted by ALPN, the best first. Empty: ALPN is ignored.
};

// Cheap to copy; the copies share one state, which any thread may use. Making one reads files in place, which blocks
// the thread: do it at start-up. Throws std::system_error of tls_category() that names the file.
class tls_context {
 public:
  static tls_context client(const tls_client_options& options = {});
  static tls_context server(const tls_server_options& options);

  // For what is not offered here. Owned by the context; change it only before its first connection.
  ssl_ctx_st* native_handle() const noexcept;

 private:
  friend class tls_stream;
  struct state;
  explicit tls_context(std::shared_ptr<const state> s) noexcept;

  std::shared_ptr<const state> state_;
};

// Errors of the protocol; the values are OpenSSL's, the messages its words.
const std::error_category& tls_category() noexcept;
// Why a certificate was refused; the values are OpenSSL's X509_V_ERR_…, the messages say it in words.
const std::error_category& certificate_category() noexcept;

}  // namespace thrum::net
