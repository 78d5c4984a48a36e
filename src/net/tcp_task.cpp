// The twins of tcp.cpp's calls for tasks.
#include <cerrno>

#include <sys/socket.h>

#include <thrum/net/tcp_listener.hpp>
#include <thrum/net/tcp_stream.hpp>

#include "net/address.hpp"
#include "net/socket_errors.hpp"
#include "net/socket_operation.hpp"
#include "net/tcp_system.hpp"

namespace thrum::net {

task<tcp_stream> tcp_listener::async_accept(std::error_code& error) {
  const long fd = co_await async_accept_next(error);
  if (error) co_return tcp_stream();
  co_return tcp_stream(static_cast<int>(fd));
}

task<tcp_stream> tcp_listener::async_accept() {
  std::error_code error;
  auto s = co_await async_accept(error);
  if (error) raise(error, "thrum: accept");
  co_return s;
}

task<tcp_stream> tcp_stream::async_connect(endpoint to, std::chrono::nanoseconds timeout, std::error_code& error) {
  const auto a = address_to_connect(to, error);
  if (error) co_return tcp_stream();
  tcp_stream s(open_socket(a, error));
  if (error || !s.async_begin(error)) co_return tcp_stream();
  switch_nagle_off(s.native_handle());
  s.set_timeout(timeout);
  if (system::connect(s.native_handle(), a.get(), a.length) != 0) {
    bool settled = !in_progress(os::error_number());
    if (settled) error = last_error();
    readiness wait{s, direction::writing};
    while (!settled && !error) {
      settled = report(co_await wait, error) && s.connection_settled(error);
    }
  }
  if (error) co_return tcp_stream();
  s.set_timeout({});
  co_return s;
}

task<tcp_stream> tcp_stream::async_connect(endpoint to, std::chrono::nanoseconds timeout) {
  std::error_code error;
  auto s = co_await async_connect(to, timeout, error);
  if (error) raise_not_connected(error, to.to_string());
  co_return s;
}

task<tcp_stream> tcp_stream::async_connect(std::string text, std::chrono::nanoseconds timeout, std::error_code& error) {
  std::error_code no_address;  // It becomes none, to which the call refuses to connect.
  return async_connect(endpoint(text, no_address), timeout, error);
}

task<tcp_stream> tcp_stream::async_connect(std::string text, std::chrono::nanoseconds timeout) {
  std::error_code error;
  auto s = co_await async_connect(endpoint(text, error), timeout, error);
  if (error) raise_not_connected(error, text);
  co_return s;
}

}  // namespace thrum::net
