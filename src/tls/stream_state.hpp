// The parts of a tls_stream, and what its calls and their twins are made of.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <mutex>
#include <span>
#include <string_view>
#include <system_error>
#include <vector>

#include <thrum/detail/spinlock.hpp>
#include <thrum/mutex.hpp>
#include <thrum/net/tls_stream.hpp>

#include "tls/context_state.hpp"
#include "tls/engine.hpp"

namespace thrum::net {

inline constexpr std::size_t tls_record_bytes = 16384;
inline constexpr std::size_t tls_input_bytes = tls_record_bytes + 1024;  // A whole record, with what is around it.

struct tls_stream::state {
  using outcome = tls_engine::outcome;

  state(const tls_context& c, tcp_stream&& t) : context(c), engine(c.native_handle()), transport(std::move(t)) {}

  // Ready for the handshake, whose time begins now.
  static std::unique_ptr<state> client(const tls_context& context, tcp_stream&& transport, std::string_view host,
                                       const tls_connect_options& options);
  static std::unique_ptr<state> server(const tls_context& context, tcp_stream&& transport,
                                       std::chrono::nanoseconds timeout);
  static tls_stream finished(std::unique_ptr<state> s, const std::error_code& error);

  // --- Steps on memory, which do not wait.
  template <class Step>
  outcome locked(Step step) noexcept {
    std::lock_guard held(guard);
    return step();
  }
  bool has_output() noexcept {
    std::lock_guard held(guard);
    return engine.has_output();
  }
  // Under `sending`: what is to be sent now; empty when there is nothing left.
  std::span<const std::byte> next_output();
  // What the transport has read; nothing is its end.
  void take_input(std::span<const std::byte> data, std::error_code& error);
  outcome encrypt(std::span<const std::byte> data, std::size_t& count, std::error_code& error);
  bool may_write(std::error_code& error) noexcept;

  // --- Carrying bytes; these wait. send_output() under `sending`.
  void handshake(std::error_code& error);
  void send_output(std::error_code& error);
  void flush(std::error_code& error);
  void help_sending(std::error_code& error);
  void receive_input(std::error_code& error);
  task<void> async_handshake(std::error_code& error);
  task<void> async_send_output(std::error_code& error);
  task<void> async_flush(std::error_code& error);
  task<void> async_help_sending(std::error_code& error);
  task<void> async_receive_input(std::error_code& error);

  const tls_context context;  // Its callbacks look at its state.
  // Around every call into OpenSSL on this connection; never held across a wait. A task could not lock a mutex there.
  mutable detail::spinlock guard;
  tls_engine engine;
  ssl_session_ptr session;        // The newest.
  mutex sending;                  // Guards the next two.
  std::vector<std::byte> outbox;  // Taken out of the engine, and sent up to here:
  std::size_t sent = 0;
  bool broken = false;  // A write has failed, or farewell has been said. The writer's, who changes it under `sending`.
  tcp_stream transport;

 private:
  void begin_handshake(std::chrono::nanoseconds timeout) noexcept;
};

// The mutex is no cancellation point, and neither is what is done on memory: so each call asks first.
bool begin_tls_call(const void* state, std::error_code& error) noexcept;

}  // namespace thrum::net
