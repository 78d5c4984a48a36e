// Asks name servers by the scheduler's clock, on the runtime's own sockets: instead of a channel of c-ares, which knows
// the kernel's time only, where these are a simulation's.
//
// It asks whom c-ares 1.18 would ask, when and how often, and tells what that would tell, so that a program meets the
// same in a simulation as outside (ares_process.c and ares_query.c, as of 1.18.1):
// - Servers are asked in turn, for so many rounds. Each is waited for as long as the configuration says, in every round
//   twice as long as in the one before: n servers in r rounds are waited for n * (2^r - 1) times as long as one is.
// - A server that fails, refuses, or is not there is followed by the next at once; it is not asked this question again
//   unless there is no other.
// - An answer counts however late it is. What is truncated is asked for again by TCP, of the same server.
// - When all have been asked in vain the status is ARES_ETIMEOUT, if it was in vain for any of them to be waited for,
//   and ARES_ECONNREFUSED otherwise.
//
// Belongs to one activity, as its exchange does. Never suspends. Messages are made, and read, by c-ares.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <ares.h>

#include <thrum/net/endpoint.hpp>

#include "dns/configuration.hpp"

namespace thrum::net {

class stub {
 public:
  using octets = std::vector<unsigned char>;
  // A status of c-ares', and the message that answers. Called when the question is settled, once at most; perhaps
  // before ask() returns, but not by the destructor. May ask again.
  using settled = std::function<void(int status, const octets& message)>;

  // The sockets are in that set of descriptors.
  stub(const resolver_configuration& with, int set);
  ~stub();
  stub(stub&&) = delete;

  void ask(const std::string& name, int record_type, settled then);

  std::int64_t next_timeout_ns() const noexcept;
  void time_has_passed();
  void is_ready(int fd);
  int refusal() const noexcept { return refusal_; }  // What a server has said last instead of an answer, by UDP.

 private:
  struct inquiry {
    unsigned identifier = 0;
    octets message;
    settled then;
    std::size_t server = 0;
    std::size_t attempts = 0;
    std::vector<char> skipped;      // For each server.
    std::vector<unsigned> sent_on;  // The number of the connection.
    bool by_tcp = false;
    std::int64_t until_ns = 0;
    int status = ARES_ECONNREFUSED;  // If this was the last attempt.
  };
  struct server {
    endpoint at{};
    int udp = -1, tcp = -1;
    unsigned connection = 0;  // Its number, or that of the next one.
    octets to_send{}, received{};
  };

  void send(inquiry& q);
  bool send_datagram(const inquiry& q);
  bool send_by_tcp(inquiry& q);
  void skip(inquiry& q) noexcept;
  bool move_on(inquiry& q) noexcept;  // To the next server; false: all have been asked.
  void try_next(inquiry& q);
  std::int64_t patience_ns(const inquiry& q) const noexcept;
  void settle(inquiry& q, int status, std::span<const unsigned char> message);

  int open(const server& s, int type);
  void hang_up(server& s) noexcept;
  void read_datagrams(server& s);
  void write_stream(server& s);
  void read_stream(server& s);
  void take_messages(server& s);
  void take_answer(const server& s, std::span<const unsigned char> m, bool by_tcp);
  void give_up_on(server& s);

  const resolver_configuration& with_;
  const int set_;
  std::vector<server> servers_;                      // Constant in number.
  std::vector<std::unique_ptr<inquiry>> inquiries_;  // Which are not settled.
  std::size_t first_ = 0;                            // Of the servers, for the next inquiry.
  unsigned connections_ = 0;
  int refusal_ = ARES_SUCCESS;
};

// The codes of RFC 1035 by which a server says that it gives no answer; to c-ares a reason to ask the next.
int refusal_in(std::span<const unsigned char> message) noexcept;

}  // namespace thrum::net
