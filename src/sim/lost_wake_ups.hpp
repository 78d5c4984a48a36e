// Who waits for what is there already: a wake-up that was lost, by thrum or, where the program has to tell, by that.
//
// To be looked for when nobody runs. All that happens is on one thread, so nobody is then between making what is waited
// for and telling of it, unless it is the program's to tell: it may wait in between, for a timer or the network. So
// what a predicate says counts once it has said so for long, or when nothing is left to be waited for.
#pragma once

#include <cstdint>
#include <vector>

#include "sched/activity.hpp"

namespace thrum::sim {

class lost_wake_ups {
 public:
  struct victim {
    const sched::activity* who;
    const char* how;  // What is there: see wait_kind::could_go_on.
    std::int64_t since_ns;
    std::uint64_t id;
    std::uint32_t episode;
  };
  // Outside of the runtime: calls predicates of the program. Nobody runs until then; who waits for what the program has
  // to tell is a victim once it has been there for `patience_ns`.
  std::vector<victim> look(sched::scheduler& home, std::int64_t now_ns, std::int64_t until_ns,
                           std::int64_t patience_ns);

 private:
  std::int64_t since(const victim& v) const noexcept;

  std::vector<victim> suspects_;  // At the last look.
};

}  // namespace thrum::sim
