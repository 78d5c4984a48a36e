// The look at everybody.
#include "sim/lost_wake_ups.hpp"

#include <algorithm>
#include <utility>

#include "sched/scheduler.hpp"

namespace thrum::sim {
namespace {

// Without a deadline, which would wake it by and by.
bool waits_for_a_wake_up(std::uint64_t word) noexcept {
  using sched::waiter;
  return waiter::code_of(word) == sched::claim_code::open &&
         (word & (waiter::parked_bit | waiter::timed_bit)) == waiter::parked_bit;
}

bool counts(const sched::wait_kind& kind, std::int64_t until_ns, bool for_long) noexcept {
  if (!kind.told_by_program || until_ns == sched::never) return true;
  return for_long && !kind.is_hint;
}

}  // namespace

std::vector<lost_wake_ups::victim> lost_wake_ups::look(sched::scheduler& home, std::int64_t now_ns,
                                                       std::int64_t until_ns, std::int64_t patience_ns) {
  std::vector<victim> could_go_on, lost;
  home.for_each_alive([&](const sched::activity& a) {
    const auto word = a.word();
    if (!waits_for_a_wake_up(word) || !a.reason.kind->could_go_on) return;
    const char* how = a.reason.kind->could_go_on(a.reason.object, a);
    if (!how) return;
    victim v{&a, how, now_ns, a.id.load(std::memory_order_relaxed), sched::waiter::number_of(word)};
    v.since_ns = since(v);
    could_go_on.push_back(v);
    if (counts(*a.reason.kind, until_ns, until_ns - v.since_ns >= patience_ns)) lost.push_back(v);
  });
  suspects_ = std::move(could_go_on);
  return lost;
}

std::int64_t lost_wake_ups::since(const victim& v) const noexcept {
  const auto same = [&](const victim& s) { return s.who == v.who && s.id == v.id && s.episode == v.episode; };
  const auto before = std::find_if(suspects_.begin(), suspects_.end(), same);
  return before == suspects_.end() ? v.since_ns : before->since_ns;
}

}  // namespace thrum::sim
