// Combinations of futures: a continuation at each of them, and counters.
//
// Two things must come together before the result is delivered: enough futures are ready, and all are being watched
// (the first may be ready while the others still lack their continuation). Whoever brings `undecided_` to zero first
// takes the other continuations back, so that a future that stays pending keeps no trace, and then delivers. A
// continuation that could not be taken back is being run by somebody else, and still touches the combination: it holds
// it, as those do that were not called yet, and the last to let go destroys it.
#include <thrum/when.hpp>

namespace thrum::detail {

combination::combination(std::size_t count, std::size_t needed)
    : needed_(needed),
      members_(std::make_unique<member[]>(count)),
      missing_(static_cast<std::ptrdiff_t>(needed)),
      holders_(count + 1) {}

void combination::watch(future_core& source) noexcept {
  auto& m = members_[count_++];
  m.run = &on_ready;
  m.owner = this;
  m.source = &source;
  source.when_ready(m);
}

void combination::watched_all() noexcept {
  if (needed_ == 0) decide();
  decide();
  let_go();
}

void combination::on_ready(continuation& c) noexcept {
  auto& m = static_cast<member&>(c);
  auto& self = *m.owner;
  touch(&self);
  if (self.missing_.fetch_sub(1, std::memory_order_relaxed) == 1) {
    self.last_ = static_cast<std::size_t>(&m - self.members_.get());
    self.decide();
  }
  self.let_go();
}

// acq_rel: the second to come sees last_, and all continuations in their place.
void combination::decide() noexcept {
  if (undecided_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  if (needed_ < count_)
    for (std::size_t i = 0; i < count_; ++i)
      if (members_[i].source->withdraw(members_[i])) let_go();
  deliver(last_);
}

// acq_rel: the last one sees everybody's use of it.
void combination::let_go() noexcept {
  if (holders_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
}

}  // namespace thrum::detail
