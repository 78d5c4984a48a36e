// Questions, the servers they are sent to, and what comes back.
#include "dns/stub.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <utility>

#include <sys/epoll.h>
#include <sys/socket.h>

#include "net/address.hpp"
#include "net/system_calls.hpp"
#include "os/errno.hpp"
#include "sched/wait.hpp"

namespace thrum::net {
namespace {

namespace beside = system::beside;

constexpr std::size_t header_bytes = 12, size_bytes = 2, by_udp_max = 512;
constexpr int internet = 1;

unsigned number_in(std::span<const unsigned char> m, std::size_t at) noexcept {
  return static_cast<unsigned>(m[at]) << 8 | m[at + 1];
}

// A system call that a signal may have interrupted.
template <class Call>
long insist(Call call) noexcept {
  for (;;)
    if (const long n = call(); n >= 0 || os::error_number() != EINTR) return n;
}

// Upper and lower case make no difference; record types and classes are no letters.
bool has_question_of(std::span<const unsigned char> asked, std::span<const unsigned char> said) noexcept {
  if (said.size() < asked.size() || number_in(said, 4) != 1) return false;
  const auto lower = [](unsigned char c) { return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : int{c}; };
  return std::equal(asked.begin() + header_bytes, asked.end(), said.begin() + header_bytes,
                    [&](unsigned char a, unsigned char b) { return lower(a) == lower(b); });
}

int status_of(std::span<const unsigned char> answer) noexcept {
  const bool is_empty = number_in(answer, 6) == 0;
  switch (answer[3] & 0x0f) {
    case 0:
      return is_empty ? ARES_ENODATA : ARES_SUCCESS;
    case 1:
      return ARES_EFORMERR;
    case 3:
      return ARES_ENOTFOUND;
    default:
      return ARES_SUCCESS;  // As c-ares has it: its reader is to say.
  }
}

}  // namespace

int refusal_in(std::span<const unsigned char> message) noexcept {
  if (message.size() < header_bytes) return ARES_SUCCESS;
  switch (message[3] & 0x0f) {
    case 2:
      return ARES_ESERVFAIL;
    case 4:
      return ARES_ENOTIMP;
    case 5:
      return ARES_EREFUSED;
    default:
      return ARES_SUCCESS;
  }
}

stub::stub(const resolver_configuration& with, int set) : with_(with), set_(set) {
  for (const auto& at : with.servers) servers_.push_back({.at = at, .connection = ++connections_});
}

stub::~stub() {
  for (auto& s : servers_) hang_up(s);
}

// -----------------------------------------------------------------------------------------------------------------
// Questions.

void stub::ask(const std::string& name, int record_type, settled then) {
  unsigned char* bytes = nullptr;
  int size = 0;
  const auto identifier = static_cast<unsigned short>(sched::random_below(0x10000));
  const int status = ares_create_query(name.c_str(), internet, record_type, identifier, 1, &bytes, &size, 0);
  const std::unique_ptr<void, void (*)(void*)> owner(bytes, ares_free_string);
  if (status != ARES_SUCCESS) return then(status, {});
  auto q = std::make_unique<inquiry>();
  q->identifier = identifier;
  q->message.assign(bytes, bytes + size);
  q->then = std::move(then);
  q->server = first_;
  q->skipped.resize(servers_.size());
  q->sent_on.resize(servers_.size());
  if (with_.rotate) first_ = (first_ + 1) % servers_.size();
  send(*inquiries_.emplace_back(std::move(q)));
}

void stub::send(inquiry& q) {
  while (!(q.by_tcp ? send_by_tcp(q) : send_datagram(q))) {
    skip(q);
    if (!move_on(q)) return settle(q, q.status, {});
  }
  q.until_ns = sched::now_ns() + patience_ns(q);
}

std::int64_t stub::patience_ns(const inquiry& q) const noexcept {
  constexpr std::int64_t millisecond_ns = 1'000'000;
  constexpr std::size_t sign = sizeof(int) * CHAR_BIT - 1;
  const auto round = q.attempts / servers_.size();
  const bool may_double = round <= sign && with_.try_timeout_ms >> (sign - round) == 0;
  return millisecond_ns * (may_double ? with_.try_timeout_ms << round : with_.try_timeout_ms);
}

// The only server may have a better day.
void stub::skip(inquiry& q) noexcept {
  if (servers_.size() > 1) q.skipped[q.server] = true;
}

bool stub::move_on(inquiry& q) noexcept {
  while (++q.attempts < servers_.size() * static_cast<std::size_t>(with_.tries)) {
    q.server = (q.server + 1) % servers_.size();
    const bool was_sent = q.by_tcp && q.sent_on[q.server] == servers_[q.server].connection;
    if (!q.skipped[q.server] && !was_sent) return true;
  }
  return false;
}

void stub::try_next(inquiry& q) { return move_on(q) ? send(q) : settle(q, q.status, {}); }

void stub::settle(inquiry& q, int status, std::span<const unsigned char> message) {
  const auto at =
      std::find_if(inquiries_.begin(), inquiries_.end(), [&](const auto& each) { return each.get() == &q; });
  const auto mine = std::move(*at);
  inquiries_.erase(at);
  mine->then(status, octets(message.begin(), message.end()));
}

std::int64_t stub::next_timeout_ns() const noexcept {
  auto next = sched::never;
  for (const auto& q : inquiries_) next = std::min(next, q->until_ns);
  return next;
}

void stub::time_has_passed() {
  const auto now = sched::now_ns();
  for (;;) {
    const auto late =
        std::find_if(inquiries_.begin(), inquiries_.end(), [&](const auto& q) { return q->until_ns <= now; });
    if (late == inquiries_.end()) return;
    (*late)->status = ARES_ETIMEOUT;
    try_next(**late);
  }
}

// -----------------------------------------------------------------------------------------------------------------
// Servers.

// -1: it cannot be reached from here. A connection need not be there yet.
int stub::open(const server& s, int type) {
  const auto to = s.at.to_address();
  const int fd = beside::open(to.family(), type);
  if (fd < 0) return -1;
  const bool connects = insist([&] { return beside::connect(fd, to.get(), to.length); }) == 0 ||
                        os::error_number() == EINPROGRESS || os::error_number() == EALREADY;
  if (connects && beside::change_set(set_, fd, type == SOCK_DGRAM ? EPOLLIN : EPOLLIN | EPOLLOUT) == 0) return fd;
  beside::close(fd);
  return -1;
}

void stub::hang_up(server& s) noexcept {
  for (int* fd : {&s.udp, &s.tcp})
    if (const int number = std::exchange(*fd, -1); number >= 0) {
      beside::change_set(set_, number, 0);
      beside::close(number);
    }
  s.to_send.clear();
  s.received.clear();
  s.connection = ++connections_;
}

bool stub::send_datagram(const inquiry& q) {
  auto& s = servers_[q.server];
  if (s.udp < 0 && (s.udp = open(s, SOCK_DGRAM)) < 0) return false;
  iovec part{const_cast<unsigned char*>(q.message.data()), q.message.size()};
  msghdr m{};
  m.msg_iov = &part;
  m.msg_iovlen = 1;
  const auto attempt = [&] { return insist([&] { return beside::send_message(s.udp, m); }) >= 0; };
  // A refusal is of an earlier datagram; this one's is reported when it is read.
  return attempt() || (os::error_number() == ECONNREFUSED && attempt());
}

bool stub::send_by_tcp(inquiry& q) {
  auto& s = servers_[q.server];
  if (s.tcp < 0) {
    if ((s.tcp = open(s, SOCK_STREAM)) < 0) return false;
    s.connection = ++connections_;
  }
  const auto size = q.message.size();
  s.to_send.insert(s.to_send.end(), {static_cast<unsigned char>(size >> 8), static_cast<unsigned char>(size)});
  s.to_send.insert(s.to_send.end(), q.message.begin(), q.message.end());
  beside::change_set(set_, s.tcp, EPOLLIN | EPOLLOUT);
  q.sent_on[q.server] = s.connection;
  return true;
}

void stub::is_ready(int fd) {
  const auto known =
      std::find_if(servers_.begin(), servers_.end(), [fd](const server& s) { return s.udp == fd || s.tcp == fd; });
  if (known == servers_.end()) return;
  if (known->udp == fd) return read_datagrams(*known);
  write_stream(*known);
  if (known->tcp == fd) read_stream(*known);
}

void stub::read_datagrams(server& s) {
  std::array<unsigned char, 4097> room;
  while (s.udp >= 0) {
    iovec part{room.data(), room.size()};
    msghdr m{};
    m.msg_iov = &part;
    m.msg_iovlen = 1;
    const auto n = insist([&] { return beside::receive_message(s.udp, m); });
    if (n < 0) return os::error_number() == EAGAIN ? void() : give_up_on(s);
    take_answer(s, std::span(room).first(static_cast<std::size_t>(n)), false);
  }
}

void stub::write_stream(server& s) {
  while (!s.to_send.empty()) {
    const auto n = insist([&] { return beside::send(s.tcp, std::as_bytes(std::span(s.to_send))); });
    // One that is still on its way is no connection yet.
    if (n < 0) return os::error_number() == EAGAIN || os::error_number() == ENOTCONN ? void() : give_up_on(s);
    s.to_send.erase(s.to_send.begin(), s.to_send.begin() + n);
  }
  beside::change_set(set_, s.tcp, EPOLLIN);
}

void stub::read_stream(server& s) {
  std::array<unsigned char, 4096> room;
  const auto n = insist([&] { return beside::receive(s.tcp, std::as_writable_bytes(std::span(room))); });
  if (n < 0 && (os::error_number() == EAGAIN || os::error_number() == ENOTCONN)) return;
  if (n <= 0) return give_up_on(s);
  s.received.insert(s.received.end(), room.begin(), room.begin() + n);
  take_messages(s);
}

void stub::take_messages(server& s) {
  while (s.received.size() >= size_bytes && s.received.size() >= size_bytes + number_in(s.received, 0)) {
    const auto end = s.received.begin() + static_cast<std::ptrdiff_t>(size_bytes + number_in(s.received, 0));
    const octets message(s.received.begin() + size_bytes, end);
    s.received.erase(s.received.begin(), end);
    take_answer(s, message, true);
  }
}

void stub::take_answer(const server& s, std::span<const unsigned char> m, bool by_tcp) {
  if (m.size() < header_bytes) return;
  const int refusal = refusal_in(m);
  if (refusal != ARES_SUCCESS && !by_tcp) refusal_ = refusal;
  const auto asked = std::find_if(inquiries_.begin(), inquiries_.end(), [&](const auto& q) {
    return q->identifier == number_in(m, 0) && has_question_of(q->message, m);
  });
  if (asked == inquiries_.end()) return;
  auto& q = **asked;
  const bool is_cut = (m[2] & 0x02) != 0 || m.size() > by_udp_max;
  if (is_cut && !by_tcp) {
    if (!std::exchange(q.by_tcp, true)) send(q);
    return;
  }
  if (refusal == ARES_SUCCESS) return settle(q, status_of(m), m);
  const auto who = static_cast<std::size_t>(&s - servers_.data());
  if (servers_.size() > 1) q.skipped[who] = true;
  if (q.server == who) try_next(q);
}

// Whoever waits for it goes on to the next. Nobody new may be taken for one of those: what is settled asks again.
void stub::give_up_on(server& s) {
  hang_up(s);
  const auto who = static_cast<std::size_t>(&s - servers_.data());
  std::vector<inquiry*> those;
  for (const auto& q : inquiries_)
    if (q->server == who) those.push_back(q.get());
  for (auto* q : those) {
    skip(*q);
    try_next(*q);
  }
}

}  // namespace thrum::net
