// Contexts: OpenSSL's, with the settings that one wants today.
#include <thrum/net/tls_context.hpp>

#include <new>
#include <stdexcept>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "tls/context_state.hpp"

namespace thrum::net {
namespace {

[[noreturn]] void refuse(const std::string& what) { throw std::system_error(last_tls_error(), "thrum: " + what); }

ssl_context_ptr make_context(const SSL_METHOD* method) {
  ERR_clear_error();
  ssl_context_ptr c(SSL_CTX_new(method));
  if (!c) throw std::bad_alloc();
  SSL_CTX_set_min_proto_version(c.get(), TLS1_2_VERSION);
  SSL_CTX_set_options(c.get(), SSL_OP_NO_RENEGOTIATION);
  // Connections that wait give back their record buffers; and a write may be repeated from another place.
  SSL_CTX_set_mode(c.get(),
                   SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  return c;
}

void use_certificate(SSL_CTX* c, const tls_certificate& files) {
  if (SSL_CTX_use_certificate_chain_file(c, files.chain_file.c_str()) != 1)
    refuse("cannot use the certificate " + files.chain_file);
  if (SSL_CTX_use_PrivateKey_file(c, files.key_file.c_str(), SSL_FILETYPE_PEM) != 1)
    refuse("cannot use the key " + files.key_file + " with the certificate " + files.chain_file);
}

void trust(SSL_CTX* c, const std::string& authorities_file) {
  if (SSL_CTX_load_verify_file(c, authorities_file.c_str()) != 1)
    refuse("cannot use the authorities in " + authorities_file);
}

// A client's newest session is kept where its stream wants it: it belongs to a host, and the user knows to which.
int keep_session(SSL* ssl, SSL_SESSION* session) {
  static_cast<ssl_session_ptr*>(SSL_get_app_data(ssl))->reset(session);
  return 1;  // It is ours now.
}

std::vector<unsigned char> on_the_wire(const std::vector<std::string>& protocols) {
  std::vector<unsigned char> wire;
  for (const auto& p : protocols) {
    if (p.empty() || p.size() > 255)
      throw std::invalid_argument("thrum: '" + p + "' is no name of a protocol for ALPN");
    wire.push_back(static_cast<unsigned char>(p.size()));
    wire.insert(wire.end(), p.begin(), p.end());
  }
  return wire;
}

}  // namespace

tls_context::tls_context(std::shared_ptr<const state> s) noexcept : state_(std::move(s)) {}

SSL_CTX* tls_context::native_handle() const noexcept { return state_->main.get(); }

// -----------------------------------------------------------------------------------------------------------------

tls_context tls_context::client(const tls_client_options& options) {
  auto s = std::make_shared<state>();
  s->main = make_context(TLS_client_method());
  SSL_CTX* c = s->main.get();
  SSL_CTX_set_verify(c, options.verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
  if (!options.authorities_file.empty())
    trust(c, options.authorities_file);
  else if (SSL_CTX_set_default_verify_paths(c) != 1)
    refuse("cannot use the system's authorities");
  if (options.certificate) use_certificate(c, *options.certificate);
  s->protocols = on_the_wire(options.protocols);
  if (!s->protocols.empty() &&
      SSL_CTX_set_alpn_protos(c, s->protocols.data(), static_cast<unsigned>(s->protocols.size())) != 0)
    throw std::bad_alloc();
  SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(c, keep_session);
  return tls_context(std::move(s));
}

// -----------------------------------------------------------------------------------------------------------------

namespace {

// Our order decides. None in common ends the handshake, as RFC 7301 wants it.
int choose_protocol(SSL*, const unsigned char** chosen, unsigned char* size, const unsigned char* offered,
                    unsigned offered_size, void* ours) {
  const auto& wire = *static_cast<const std::vector<unsigned char>*>(ours);
  unsigned char* out = nullptr;
  const int r =
      SSL_select_next_proto(&out, size, wire.data(), static_cast<unsigned>(wire.size()), offered, offered_size);
  *chosen = out;
  return r == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

int choose_certificate(SSL* ssl, int*, void* by_name) {
  const auto& all = *static_cast<const std::map<std::string, ssl_context_ptr>*>(by_name);
  const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  const auto found = name ? all.find(name) : all.end();
  if (found != all.end()) SSL_set_SSL_CTX(ssl, found->second.get());
  return SSL_TLSEXT_ERR_OK;
}

void ask_for_certificate(SSL_CTX* c, const std::string& authorities_file) {
  trust(c, authorities_file);
  SSL_CTX_set_client_CA_list(c, SSL_load_client_CA_file(authorities_file.c_str()));
  SSL_CTX_set_verify(c, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
}

ssl_context_ptr make_server_context(const tls_certificate& certificate, const tls_server_options& options,
                                    std::vector<unsigned char>& protocols) {
  auto made = make_context(TLS_server_method());
  SSL_CTX* c = made.get();
  use_certificate(c, certificate);
  if (!options.client_authorities_file.empty()) ask_for_certificate(c, options.client_authorities_file);
  if (!protocols.empty()) SSL_CTX_set_alpn_select_cb(c, choose_protocol, &protocols);
  static constexpr unsigned char id[] = "thrum";  // Without one, servers that ask for certificates resume nothing.
  SSL_CTX_set_session_id_context(c, id, sizeof id - 1);
  return made;
}

}  // namespace

tls_context tls_context::server(const tls_server_options& options) {
  auto s = std::make_shared<state>();
  s->protocols = on_the_wire(options.protocols);
  s->main = make_server_context(options.certificate, options, s->protocols);
  for (const auto& [name, certificate] : options.by_name)
    s->by_name[name] = make_server_context(certificate, options, s->protocols);
  SSL_CTX_set_tlsext_servername_callback(s->main.get(), choose_certificate);
  SSL_CTX_set_tlsext_servername_arg(s->main.get(), &s->by_name);
  return tls_context(std::move(s));
}

}  // namespace thrum::net
