// OpenSSL on memory, and its errors in words.
#include "tls/engine.hpp"

#include <new>

#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <thrum/net/tls_context.hpp>

namespace thrum::net {
namespace {

class protocol_errors final : public std::error_category {
 public:
  const char* name() const noexcept override { return "tls"; }
  std::string message(int code) const override {
    const char* reason = ERR_reason_error_string(static_cast<unsigned long>(code));
    return reason ? reason : "TLS error " + std::to_string(code);
  }
};

class certificate_errors final : public std::error_category {
 public:
  const char* name() const noexcept override { return "certificate"; }
  std::string message(int code) const override {
    return std::string("the certificate was refused: ") + X509_verify_cert_error_string(code);
  }
};

}  // namespace

const std::error_category& tls_category() noexcept {
  static const protocol_errors it;
  return it;
}

const std::error_category& certificate_category() noexcept {
  static const certificate_errors it;
  return it;
}

std::error_code last_tls_error() noexcept {
  const auto code = ERR_get_error();
  ERR_clear_error();
  if (code == 0) return std::make_error_code(std::errc::protocol_error);
  if (ERR_SYSTEM_ERROR(code)) return {ERR_GET_REASON(code), std::generic_category()};
  return {static_cast<int>(code), tls_category()};
}

tls_engine::tls_engine(SSL_CTX* context)
    : ssl_(SSL_new(context)), in_(BIO_new(BIO_s_mem())), out_(BIO_new(BIO_s_mem())) {
  if (!ssl_ || !in_ || !out_) {
    BIO_free(in_);
    BIO_free(out_);
    throw std::bad_alloc();
  }
  SSL_set_bio(ssl_.get(), in_, out_);
}

bool tls_engine::expect(const std::string& host) noexcept {
  ERR_clear_error();
  // A numeric address is in no SNI, and is looked for among the certificate's addresses.
  if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl()), host.c_str()) == 1) return true;
  ERR_clear_error();
  SSL_set_hostflags(ssl(), X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  return SSL_set1_host(ssl(), host.c_str()) == 1 && SSL_set_tlsext_host_name(ssl(), host.c_str()) == 1;
}

std::error_code tls_engine::failure() const noexcept {
  const auto refused = SSL_get_verify_result(ssl());
  const auto reason = ERR_peek_error();
  if (refused != X509_V_OK && ERR_GET_LIB(reason) == ERR_LIB_SSL &&
      ERR_GET_REASON(reason) == SSL_R_CERTIFICATE_VERIFY_FAILED) {
    ERR_clear_error();
    return {static_cast<int>(refused), certificate_category()};
  }
  return last_tls_error();
}

// call() gives what OpenSSL's functions give: 1 for success.
template <class Call>
tls_engine::outcome tls_engine::perform(std::error_code& error, Call call) noexcept {
  ERR_clear_error();
  const int result = call();
  if (result > 0) return outcome::done;
  switch (SSL_get_error(ssl(), result)) {
    case SSL_ERROR_WANT_READ:
      return outcome::needs_input;
    case SSL_ERROR_ZERO_RETURN:
      return outcome::ended;
    default:
      error = failure();
      return outcome::failed;
  }
}

tls_engine::outcome tls_engine::handshake(std::error_code& error) noexcept {
  return perform(error, [&] { return SSL_do_handshake(ssl()); });
}

tls_engine::outcome tls_engine::read(std::span<std::byte> buffer, std::size_t& count, std::error_code& error) noexcept {
  return perform(error, [&] { return SSL_read_ex(ssl(), buffer.data(), buffer.size(), &count); });
}

tls_engine::outcome tls_engine::write(std::span<const std::byte> data, std::size_t& count,
                                      std::error_code& error) noexcept {
  return perform(error, [&] { return SSL_write_ex(ssl(), data.data(), data.size(), &count); });
}

tls_engine::outcome tls_engine::say_farewell(std::error_code& error) noexcept {
  return perform(error, [&] {
    const int result = SSL_shutdown(ssl());
    return result == 0 ? 1 : result;  // 0: said, and not yet answered.
  });
}

void tls_engine::give_input(std::span<const std::byte> data) {
  if (BIO_write(in_, data.data(), static_cast<int>(data.size())) != static_cast<int>(data.size()))
    throw std::bad_alloc();
}

void tls_engine::take_output(std::vector<std::byte>& to) {
  to.resize(BIO_ctrl_pending(out_));
  if (!to.empty()) BIO_read(out_, to.data(), static_cast<int>(to.size()));
}

}  // namespace thrum::net
