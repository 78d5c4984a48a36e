// Options of sockets by their names.
//
//   stream.set_option(thrum::net::keep_alive(true));
//   stream.get_option<thrum::net::receive_buffer_size>().value();     // in bytes
//
// Setting and getting never suspend. Errors throw std::system_error or are reported in an error_code, such as
// errc::no_protocol_option where the socket is not of a kind that has the option. In a simulation those of
// multicast, reset_on_close and the receive buffer of UDP have their effect, and the others are just kept.
//
// SO_LINGER with a time is not among them: close() would then block the thread.
#pragma once

namespace thrum::net {

enum class option_name : unsigned char {
  no_delay,
  keep_alive,
  broadcast,
  reset_on_close,
  receive_buffer_size,
  send_buffer_size,
  multicast_hops,
  multicast_loopback,
};

template <option_name Name, class Value>
class option {
 public:
  using value_type = Value;
  static constexpr option_name name = Name;

  explicit constexpr option(Value v) noexcept : value_(v) {}
  constexpr Value value() const noexcept { return value_; }

 private:
  Value value_;
};

using no_delay = option<option_name::no_delay, bool>;      // TCP: no waiting for more to send. Set from the start.
using keep_alive = option<option_name::keep_alive, bool>;  // Asks a silent peer whether it is still there.
using broadcast = option<option_name::broadcast, bool>;    // UDP: may send to broadcast addresses.
using reset_on_close = option<option_name::reset_on_close, bool>;  // TCP: closing drops what was not sent, and resets.
// In bytes. The system doubles what is set, for its own use, and limits it; it tells the doubled size.
using receive_buffer_size = option<option_name::receive_buffer_size, int>;
using send_buffer_size = option<option_name::send_buffer_size, int>;
// UDP: so many networks a datagram to a group may reach, 0 to 255; 1, this network, unless it is set.
using multicast_hops = option<option_name::multicast_hops, int>;
// UDP: whether members on this machine get it, too. They do unless it is set.
using multicast_loopback = option<option_name::multicast_loopback, bool>;

}  // namespace thrum::net
