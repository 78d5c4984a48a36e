// What all c10k servers and their client agree on: the messages, the buffer size, the listening socket.
//
// A request is 64 bytes that depend on the connection and the request's number; the answer is those bytes,
// each changed. The client can thus tell a lost, repeated, swapped or torn answer from the right one.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>

namespace thrum::lab {

inline constexpr std::size_t message_bytes = 64;
inline constexpr std::size_t buffer_bytes = 1024;  // Every model reads into a buffer of this size; a request has 64.
inline constexpr int listen_backlog = 4096;

using message = std::span<std::byte, message_bytes>;
using buffer = std::array<std::byte, buffer_bytes>;

void write_request(message out, std::uint32_t connection, std::uint32_t sequence);
void answer_in_place(message request);
bool is_answer(std::span<const std::byte, message_bytes> got, std::uint32_t connection, std::uint32_t sequence);

inline message message_in(std::span<std::byte> bytes) { return bytes.first<message_bytes>(); }

// What a server is asked to do.
struct service {
  explicit service(const nlohmann::json& order);

  int port;
  std::chrono::milliseconds wait;  // How long the "database" takes.
  std::int64_t connections;
  int pool_threads;
};

// A listening TCP socket on 127.0.0.1; tells the parent its port. Throws `failure`, for a busy port among
// others.
int listen_and_announce(const service& s, bool blocking = true);
void announce(int port);
std::string explain_port(int port, int error);

// Tells the parent, once, which limit keeps this server from holding more connections.
void report_limit(const std::string& limit);

// accept() failed: reports a lack of descriptors or memory, and waits a moment so that the server does not
// spin.
void rest_after_failed_accept(int error);

// Blocking calls on a descriptor: false at the end of the stream or after an error.
bool receive_request(int connection, std::span<std::byte> into);
bool send_answer(int connection, std::span<const std::byte> answer);

}  // namespace thrum::lab
