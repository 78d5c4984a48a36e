// The twins of tls_stream.cpp's calls for tasks; what is said there holds here.
#include <memory>
#include <mutex>

#include <thrum/detail/transfer.hpp>
#include <thrum/task.hpp>

#include "tls/stream_state.hpp"

namespace thrum::net {

task<void> tls_stream::state::async_send_output(std::error_code& error) {
  while (!error) {
    const auto data = next_output();
    if (data.empty()) co_return;
    sent += co_await transport.async_write_some(data, error);
  }
}

task<void> tls_stream::state::async_flush(std::error_code& error) {
  const auto turn = co_await sending.async_scoped_lock();
  co_await async_send_output(error);
}

task<void> tls_stream::state::async_help_sending(std::error_code& error) {
  while (!error && has_output()) {
    std::unique_lock turn(sending, std::try_to_lock);
    if (!turn || broken) co_return;
    co_await async_send_output(error);
  }
}

// A task that waits holds no buffer.
task<void> tls_stream::state::async_receive_input(std::error_code& error) {
  co_await transport.async_wait_readable(error);
  if (error) co_return;
  const auto buffer = std::make_unique_for_overwrite<std::byte[]>(tls_input_bytes);
  const auto n = co_await transport.async_read_some(std::span(buffer.get(), tls_input_bytes), error);
  take_input(std::span(buffer.get(), n), error);
}

task<void> tls_stream::state::async_handshake(std::error_code& error) {
  for (;;) {
    std::error_code why;
    const auto o = locked([&] { return engine.handshake(why); });
    co_await async_flush(error);
    if (o == outcome::failed) error = why;
    if (error || o == outcome::done) co_return;
    co_await async_receive_input(error);
    if (error) co_return;
  }
}

// -----------------------------------------------------------------------------------------------------------------

task<tls_stream> tls_stream::async_connect(tls_context context, tcp_stream transport, std::string host,
                                           tls_connect_options options, std::error_code& error) {
  if (!begin_tls_call(&context, error)) co_return tls_stream();
  auto s = state::client(context, std::move(transport), host, options);
  co_await s->async_handshake(error);
  co_return state::finished(std::move(s), error);
}

task<tls_stream> tls_stream::async_connect(tls_context context, tcp_stream transport, std::string host,
                                           tls_connect_options options) {
  std::error_code error;
  auto s = co_await async_connect(context, std::move(transport), host, options, error);
  detail::raise_if(error, "thrum: TLS handshake with the server");
  co_return s;
}

task<tls_stream> tls_stream::async_accept(tls_context context, tcp_stream transport, std::chrono::nanoseconds timeout,
                                          std::error_code& error) {
  if (!begin_tls_call(&context, error)) co_return tls_stream();
  auto s = state::server(context, std::move(transport), timeout);
  co_await s->async_handshake(error);
  co_return state::finished(std::move(s), error);
}

task<tls_stream> tls_stream::async_accept(tls_context context, tcp_stream transport, std::chrono::nanoseconds timeout) {
  std::error_code error;
  auto s = co_await async_accept(context, std::move(transport), timeout, error);
  detail::raise_if(error, "thrum: TLS handshake with the client");
  co_return s;
}

// -----------------------------------------------------------------------------------------------------------------

task<std::size_t> tls_stream::async_read_some(std::span<std::byte> buffer, std::error_code& error) {
  if (!begin_tls_call(state_.get(), error) || buffer.empty()) co_return 0;
  for (;;) {
    std::size_t n = 0;
    const auto o = state_->locked([&] { return state_->engine.read(buffer, n, error); });
    if (o == state::outcome::done) co_return n;
    if (o != state::outcome::needs_input) co_return 0;
    co_await state_->async_help_sending(error);
    if (!error) co_await state_->async_receive_input(error);
    if (error) co_return 0;
  }
}

task<std::size_t> tls_stream::async_write_some(std::span<const std::byte> data, std::error_code& error) {
  if (!begin_tls_call(state_.get(), error) || data.empty() || !state_->may_write(error)) co_return 0;
  std::size_t n = 0;
  {
    const auto turn = co_await state_->sending.async_scoped_lock();
    state_->encrypt(data, n, error);
    co_await state_->async_send_output(error);
    state_->broken = static_cast<bool>(error);
  }
  if (error) co_return 0;
  std::error_code later;
  co_await state_->async_help_sending(later);
  co_return n;
}

task<void> tls_stream::async_shutdown_write(std::error_code& error) {
  if (!begin_tls_call(state_.get(), error) || !state_->may_write(error)) co_return;
  const auto turn = co_await state_->sending.async_scoped_lock();
  state_->broken = true;
  state_->locked([&] { return state_->engine.say_farewell(error); });
  co_await state_->async_send_output(error);
}

task<void> tls_stream::async_shutdown_write() {
  std::error_code error;
  co_await async_shutdown_write(error);
  detail::raise_if(error, "thrum: TLS shutdown_write");
}

}  // namespace thrum::net
