// What udp_socket and unix_datagram share: sending to one peer, and receiving.
//
// Operations suspend the calling fiber (or block the calling thread) and are cancellation points. Errors throw
// std::system_error; each operation has an overload that reports them in an error_code instead, cancellation included
// (errc::operation_canceled). Deadlines and time-outs are errc::timed_out. One fiber may receive while another sends.
// They work in simulations, too.
#pragma once

#include <cstddef>
#include <span>
#include <system_error>

#include <thrum/net/socket.hpp>

namespace thrum::net {

// One datagram was taken from the queue: the first `size` bytes of the buffer.
struct received {
  std::size_t size = 0;
  bool truncated = false;  // It was longer than the buffer; the rest is lost.
};

class datagram_socket : public socket {
 public:
  datagram_socket() noexcept = default;

  // To the peer that it is connected to, as one datagram; waits while the socket's buffer, or the peer's queue, is
  // full. Throws errc::message_size when it is too long, errc::destination_address_required or errc::not_connected when
  // there is no peer.
  void send(std::span<const std::byte> data);
  void send(std::span<const std::byte> data, std::error_code& error);

  // The next datagram, which may be empty. An empty buffer takes one, too.
  received receive(std::span<std::byte> buffer);
  received receive(std::span<std::byte> buffer, std::error_code& error);

  // For tasks, with <thrum/task.hpp>: co_await them. The buffer, the socket and the error_code must outlive the call.
  // Throw or report as the plain calls do.
  task<void> async_send(std::span<const std::byte> data);
  task<void> async_send(std::span<const std::byte> data, std::error_code& error);
  task<received> async_receive(std::span<std::byte> buffer);
  task<received> async_receive(std::span<std::byte> buffer, std::error_code& error);

 protected:
  explicit datagram_socket(int fd) noexcept : socket(fd, errors_pass{}) {}
};

}  // namespace thrum::net
