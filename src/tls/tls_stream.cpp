// TLS streams, as fibers and threads use them.
#include <thrum/net/tls_stream.hpp>

#include <algorithm>
#include <array>
#include <new>

#include <openssl/x509.h>

#include <thrum/clock.hpp>
#include <thrum/fiber.hpp>

#include "net/stream_loops.hpp"
#include "tls/stream_state.hpp"

namespace thrum::net {

template <>
inline constexpr stream_words words_of<tls_stream>{"thrum: TLS read", "thrum: TLS read_exactly", "thrum: TLS write",
                                                   "thrum: TLS write_all"};
template class input_calls<tls_stream>;
template class output_calls<tls_stream>;
void tls_stream::break_off() noexcept { state_->broken = true; }

bool begin_tls_call(const void* state, std::error_code& error) noexcept {
  error.clear();
  if (!state)
    error = std::make_error_code(std::errc::bad_file_descriptor);
  else if (this_fiber::stop_requested())
    error = std::make_error_code(std::errc::operation_canceled);
  return !error;
}

// -----------------------------------------------------------------------------------------------------------------
// Steps.

std::unique_ptr<tls_stream::state> tls_stream::state::client(const tls_context& context, tcp_stream&& transport,
                                                             std::string_view host,
                                                             const tls_connect_options& options) {
  auto s = std::make_unique<state>(context, std::move(transport));
  SSL* ssl = s->engine.ssl();
  SSL_set_app_data(ssl, &s->session);
  SSL_set_connect_state(ssl);
  if (!s->engine.expect(std::string(host))) throw std::bad_alloc();
  if (options.session) SSL_set_session(ssl, options.session.state_.get());
  s->begin_handshake(options.timeout);
  return s;
}

std::unique_ptr<tls_stream::state> tls_stream::state::server(const tls_context& context, tcp_stream&& transport,
                                                             std::chrono::nanoseconds timeout) {
  auto s = std::make_unique<state>(context, std::move(transport));
  SSL_set_accept_state(s->engine.ssl());
  s->begin_handshake(timeout);
  return s;
}

void tls_stream::state::begin_handshake(std::chrono::nanoseconds timeout) noexcept {
  if (timeout.count() > 0)
    transport.set_deadline(clock::now() + timeout);
  else
    transport.clear_deadline();
}

tls_stream tls_stream::state::finished(std::unique_ptr<state> s, const std::error_code& error) {
  if (error) return {};
  s->transport.clear_deadline();
  return tls_stream(std::move(s));
}

std::span<const std::byte> tls_stream::state::next_output() {
  if (sent == outbox.size()) {
    sent = 0;
    std::lock_guard held(guard);
    // Connections that have nothing to send keep no outbox.
    if (engine.has_output())
      engine.take_output(outbox);
    else
      outbox = {};
  }
  return std::span(outbox).subspan(sent);
}

void tls_stream::state::take_input(std::span<const std::byte> data, std::error_code& error) {
  if (error) return;
  if (data.empty()) {
    error = std::make_error_code(std::errc::connection_aborted);
    return;
  }
  std::lock_guard held(guard);
  engine.give_input(data);
}

bool tls_stream::state::may_write(std::error_code& error) noexcept {
  if (broken) error = std::make_error_code(std::errc::broken_pipe);
  return !broken;
}

tls_engine::outcome tls_stream::state::encrypt(std::span<const std::byte> data, std::size_t& count,
                                               std::error_code& error) {
  const auto record = data.first(std::min(data.size(), tls_record_bytes));
  return locked([&] { return engine.write(record, count, error); });
}

// -----------------------------------------------------------------------------------------------------------------
// Carrying bytes.

void tls_stream::state::send_output(std::error_code& error) {
  while (!error) {
    const auto data = next_output();
    if (data.empty()) return;
    sent += transport.write_some(data, error);
  }
}

// All that is to be sent when it is called has been sent when it returns without an error.
void tls_stream::state::flush(std::error_code& error) {
  std::lock_guard turn(sending);
  send_output(error);
}

// For those who have nothing of their own to send: whoever is sending now looks again, here, when it is done.
void tls_stream::state::help_sending(std::error_code& error) {
  while (!error && has_output()) {
    std::unique_lock turn(sending, std::try_to_lock);
    if (!turn || broken) return;
    send_output(error);
  }
}

void tls_stream::state::receive_input(std::error_code& error) {
  std::array<std::byte, tls_input_bytes> buffer;
  const auto n = transport.read_some(buffer, error);
  take_input(std::span(buffer).first(n), error);
}

void tls_stream::state::handshake(std::error_code& error) {
  for (;;) {
    std::error_code why;
    const auto o = locked([&] { return engine.handshake(why); });
    flush(error);  // Also when it has failed: the peer is to know why.
    if (o == outcome::failed) error = why;
    if (error || o == outcome::done) return;
    receive_input(error);
    if (error) return;
  }
}

// -----------------------------------------------------------------------------------------------------------------

tls_stream::tls_stream() noexcept = default;
tls_stream::tls_stream(tls_stream&&) noexcept = default;
tls_stream& tls_stream::operator=(tls_stream&&) noexcept = default;
tls_stream::~tls_stream() = default;
tls_stream::tls_stream(std::unique_ptr<state> s) noexcept : state_(std::move(s)) {}

bool tls_stream::is_open() const noexcept { return state_ && state_->transport.is_open(); }
void tls_stream::close() noexcept {
  if (state_) state_->transport.close();
}
tcp_stream& tls_stream::transport() { return state_->transport; }

tls_stream tls_stream::connect(const tls_context& context, tcp_stream transport, std::string_view host,
                               const tls_connect_options& options, std::error_code& error) {
  if (!begin_tls_call(&context, error)) return {};
  auto s = state::client(context, std::move(transport), host, options);
  s->handshake(error);
  return state::finished(std::move(s), error);
}

tls_stream tls_stream::connect(const tls_context& context, tcp_stream transport, std::string_view host,
                               const tls_connect_options& options) {
  std::error_code error;
  auto s = connect(context, std::move(transport), host, options, error);
  detail::raise_if(error, "thrum: TLS handshake with the server");
  return s;
}

tls_stream tls_stream::accept(const tls_context& context, tcp_stream transport, std::chrono::nanoseconds timeout,
                              std::error_code& error) {
  if (!begin_tls_call(&context, error)) return {};
  auto s = state::server(context, std::move(transport), timeout);
  s->handshake(error);
  return state::finished(std::move(s), error);
}

tls_stream tls_stream::accept(const tls_context& context, tcp_stream transport, std::chrono::nanoseconds timeout) {
  std::error_code error;
  auto s = accept(context, std::move(transport), timeout, error);
  detail::raise_if(error, "thrum: TLS handshake with the client");
  return s;
}

// -----------------------------------------------------------------------------------------------------------------

std::size_t tls_stream::read_some(std::span<std::byte> buffer, std::error_code& error) {
  if (!begin_tls_call(state_.get(), error) || buffer.empty()) return 0;
  for (;;) {
    std::size_t n = 0;
    const auto o = state_->locked([&] { return state_->engine.read(buffer, n, error); });
    if (o == state::outcome::done) return n;
    if (o != state::outcome::needs_input) return 0;
    state_->help_sending(error);
    if (!error) state_->receive_input(error);
    if (error) return 0;
  }
}

std::size_t tls_stream::write_some(std::span<const std::byte> data, std::error_code& error) {
  if (!begin_tls_call(state_.get(), error) || data.empty() || !state_->may_write(error)) return 0;
  std::size_t n = 0;
  {
    // From before there is something to send: a reader that found it would send it, instead of reading.
    std::lock_guard turn(state_->sending);
    state_->encrypt(data, n, error);
    state_->send_output(error);
    state_->broken = static_cast<bool>(error);
  }
  if (error) return 0;
  std::error_code later;        // The next call meets it, too.
  state_->help_sending(later);  // A reader that had to send something may have left it to us.
  return n;
}

void tls_stream::shutdown_write(std::error_code& error) {
  if (!begin_tls_call(state_.get(), error) || !state_->may_write(error)) return;
  std::lock_guard turn(state_->sending);
  state_->broken = true;  // Nothing can follow.
  state_->locked([&] { return state_->engine.say_farewell(error); });
  state_->send_output(error);
}

void tls_stream::shutdown_write() {
  or_throw("thrum: TLS shutdown_write", [&](auto& error) { shutdown_write(error); });
}

// -----------------------------------------------------------------------------------------------------------------
// What was agreed on.

std::string tls_stream::protocol() const {
  const unsigned char* name = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(native_handle(), &name, &size);
  return {reinterpret_cast<const char*>(name), size};
}

std::string tls_stream::version() const { return SSL_get_version(native_handle()); }

std::string tls_stream::server_name() const {
  const char* name = SSL_get_servername(native_handle(), TLSEXT_NAMETYPE_host_name);
  return name ? name : "";
}

std::string tls_stream::peer_name() const {
  std::array<char, 256> name{};
  if (const X509* certificate = SSL_get0_peer_certificate(native_handle()))
    X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, name.data(), name.size());
  return name.data();
}

bool tls_stream::resumed() const { return SSL_session_reused(native_handle()) == 1; }

tls_session tls_stream::session() const {
  tls_session kept;
  std::lock_guard held(state_->guard);
  SSL_SESSION* s = state_->session.get();
  if (s && SSL_SESSION_up_ref(s) == 1) kept.state_ = {s, SSL_SESSION_free};
  return kept;
}

SSL* tls_stream::native_handle() const noexcept { return state_->engine.ssl(); }

}  // namespace thrum::net
