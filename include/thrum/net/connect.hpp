// A TCP connection to whichever of several endpoints answers first.
//
//   const std::vector<thrum::net::endpoint> replicas{endpoint("[2001:db8::1]:80"), endpoint("192.0.2.1:80")};
//   auto c = thrum::net::connect(replicas, {.timeout = 10s});
//
// The endpoints are tried in their order, but for the families, IPv6 and IPv4, which take turns. Each attempt gets a
// head start; when it has neither succeeded nor failed by then, the next one begins beside it. One that fails lets the
// next begin at once. The first to be connected is the result, and the others are cancelled and closed before the call
// returns. So an address that swallows packets costs a quarter of a second, and not the minutes of its time-out.
//
// Attempts are children in a scope: connect() needs a fiber, async_connect() a task, and on a plain thread they throw
// std::logic_error. Both suspend and are cancellation points. Errors throw std::system_error whose text tells of every
// attempt; its code is that of the attempt which failed last, errc::timed_out when the time was up, and
// errc::invalid_argument when there was no endpoint. The overloads with an error_code report that code, cancellation
// included (errc::operation_canceled). They work in simulations, too. By the name of a host: resolver.hpp.
//
// The idea and its numbers are those of RFC 8305, "Happy Eyeballs Version 2" (Schinazi and Pauly, 2017).
#pragma once

#include <chrono>
#include <span>
#include <system_error>
#include <vector>

#include <thrum/net/endpoint.hpp>
#include <thrum/net/tcp_stream.hpp>

namespace thrum::net {

struct connect_options {
  std::chrono::nanoseconds timeout{0};                                      // For all of it; zero or less: no limit.
  std::chrono::nanoseconds attempt_delay = std::chrono::milliseconds(250);  // The head start; zero or less: none.
  // By name: how long the IPv4 addresses of a host, once known, wait for its IPv6 ones.
  std::chrono::nanoseconds resolution_delay = std::chrono::milliseconds(50);
};

tcp_stream connect(std::span<const endpoint> to, const connect_options& options = {});
tcp_stream connect(std::span<const endpoint> to, const connect_options& options, std::error_code& error);

// For tasks, with <thrum/task.hpp>: co_await them. The error_code must outlive the call.
task<tcp_stream> async_connect(std::vector<endpoint> to, connect_options options = {});
task<tcp_stream> async_connect(std::vector<endpoint> to, connect_options options, std::error_code& error);

}  // namespace thrum::net
