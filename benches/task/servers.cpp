// The servers of echo and c10k as tasks. As those of fibers (echo.cpp, c10k.cpp), the difference being co_await.
#include "servers.hpp"

#include <array>
#include <system_error>

#include "../buffer.hpp"
#include "../server.hpp"

namespace task_servers {

using bench::options;
using thrum::task;
using thrum::net::tcp_stream;

task<> echo_all(tcp_stream stream, const options& o) {
  bench::buffer own(o.buffer);
  while (auto n = co_await stream.async_read_some(own.all)) co_await stream.async_write_all(own.all.first(n));
}

task<> echo_borrowing(tcp_stream stream, const options& o) {
  for (;;) {
    co_await stream.async_wait_readable();
    bench::buffer borrowed(o.buffer);
    const auto n = co_await stream.async_read_some(borrowed.all);
    if (n == 0) co_return;
    co_await stream.async_write_all(borrowed.all.first(n));
  }
}

task<> answer_after_delay(tcp_stream stream, const options& o) {
  bench::buffer own(o.buffer);
  std::size_t held = 0;
  while (auto n = co_await stream.async_read_some(own.all.subspan(held))) {
    held += n;
    if (held < bench::message_bytes) continue;
    co_await thrum::async_sleep_for(std::chrono::milliseconds(o.delay_ms));
    co_await stream.async_write_all(own.all.first(held));
    held = 0;
  }
}

// Reads one whole request, by way of a borrowed buffer. False: the peer has ended, or is not ours.
task<bool> take_request(tcp_stream& stream, std::span<std::byte> to, std::size_t size) {
  bench::buffer borrowed(size);
  std::size_t held = 0;
  while (held < to.size()) {
    const auto n = co_await stream.async_read_some(borrowed.all.subspan(held));
    if (n == 0) co_return false;
    held += n;
  }
  std::copy_n(borrowed.all.begin(), to.size(), to.begin());
  co_return held == to.size();
}

task<> answer_after_delay_borrowing(tcp_stream stream, const options& o) {
  std::array<std::byte, bench::message_bytes> request;
  for (;;) {
    co_await stream.async_wait_readable();
    if (!co_await take_request(stream, request, o.buffer)) co_return;
    co_await thrum::async_sleep_for(std::chrono::milliseconds(o.delay_ms));
    co_await stream.async_write_all(request);
  }
}

// A client that leaves in the middle ends its task, not the server.
task<> guard(task<> handler) {
  try {
    co_await std::move(handler);
  } catch (const std::system_error&) {
  }
}

template <class Handler>
void serve_each(const options& o, Handler handler) {
  auto listener = thrum::net::tcp_listener::bind("127.0.0.1:" + std::to_string(o.port), {.backlog = bench::backlog});
  bench::announce(listener.local_port());
  for (;;) thrum::go(guard(handler(listener.accept(), o)));
}

void echo(const options& o) { serve_each(o, o.borrow ? echo_borrowing : echo_all); }
void c10k(const options& o) { serve_each(o, o.borrow ? answer_after_delay_borrowing : answer_after_delay); }

}  // namespace task_servers
