// Name servers: what arrives at port 53 of their hosts, and their answers. What these say is names.hpp's.
#include <cstring>

#include "sim/allocations.hpp"
#include "sim/network.hpp"

namespace thrum::sim {

const char* network::name_server() noexcept {
  const own_allocations unwatched;
  return hosts_.speaks_v6(hosts_.of_caller()) ? "[2001:db8::53]:53" : "192.0.2.53:53";
}

void network::set(std::string_view address, const sim::name_server& s) {
  const own_allocations unwatched;
  names_.set_server(address, s);
  hosts_.named(address);
}

void network::query_arrives(const event& e) {
  auto said = names_.answer_to(e.bytes, e.address, false);
  if (!said) return;
  schedule_at(clock_.now_ns() + said->after_ns, {.what = kind::answer,
                                                 .to = -1,
                                                 .along = e.along.back(),
                                                 .bytes = std::move(said->message),
                                                 .address = e.source,
                                                 .source = e.address});
}

// In a connection a message follows its size. What is not there as a whole is waited for.
void network::queries_arrive(endpoint& at) {
  constexpr std::size_t size_bytes = 2;
  for (;;) {
    auto& in = at.inbox;
    if (in.size() < size_bytes) return;
    const auto size = std::to_integer<std::size_t>(in[0]) << 8 | std::to_integer<std::size_t>(in[1]);
    if (in.size() < size_bytes + size) return;
    const auto first = in.begin() + size_bytes, end = first + static_cast<std::ptrdiff_t>(size);
    auto said = names_.answer_to(octets(first, end), at.local, true);
    in.erase(in.begin(), end);
    if (!said) continue;
    auto& m = said->message;
    const auto length = m.size();
    m.insert(m.begin(), {static_cast<std::byte>(length >> 8), static_cast<std::byte>(length)});
    schedule_at(clock_.now_ns() + said->after_ns, {.what = kind::answer, .to = at.id, .bytes = std::move(m)});
  }
}

// It has been thought of.
void network::answer(event& e) {
  if (e.to < 0) {
    e.what = kind::datagram;
    return send_off(e, nullptr);
  }
  auto* from = find(e.to);
  auto* to = from ? find(from->other) : nullptr;
  if (to && !from->is_reset) send_segments(*from, *to, e.bytes, nullptr);
}

}  // namespace thrum::sim
