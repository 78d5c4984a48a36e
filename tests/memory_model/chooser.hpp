// Makes the choices of an execution: all of them in turn, depth first, or as a seed draws them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/rng.hpp"
#include "memory_model/explorer.hpp"
#include "memory_model/late_reads.hpp"
#include "memory_model/memory.hpp"

namespace thrum::memory_model {

// The first alternative is what a plain machine that is never interrupted would do.
class chooser {
 public:
  void begin(const limits& l);
  void start();    // An execution.
  bool advance();  // To the next one: false when there is none.

  bool draws() const { return limits_.seed != 0; }
  std::uint64_t seed() const { return seed_; }
  bool exhausted() const { return !draws() && choices_.empty(); }

  // Who goes on before this step. The first of them is the one that has gone so far.
  std::size_t who_goes_on(const std::vector<std::size_t>& threads, int step);
  // The same where that one cannot.
  std::size_t who_is_next(const std::vector<std::size_t>& threads);
  bool fails();  // A weak compare-and-swap, without a reason.
  // Of so many messages or places, the newest first.
  std::size_t which_message(std::size_t count);
  // The same for a load that may read what is yet to come: `count` and more stand for load->later.
  std::size_t which_message(std::size_t count, std::shared_ptr<late_load>& load);

 private:
  struct choice {
    std::size_t taken, count;
    std::shared_ptr<late_load> load;  // Or null.

    std::size_t alternatives() const { return count + (load ? load->later.size() : 0); }
  };
  std::size_t choose(std::size_t count);
  const choice& next(std::size_t count);
  std::size_t of_highest_priority(const std::vector<std::size_t>& threads) const;

  limits limits_;

  // Exhaustive.
  std::vector<choice> choices_;
  std::size_t next_ = 0;

  // At random. The rest is drawn anew for each execution.
  std::uint64_t seed_ = 0;
  base::rng random_;
  bool by_priority_ = false;
  std::uint32_t preempts_one_in_ = 1, stale_one_in_ = 1;
  std::array<int, threads_max> priorities_{};
  int lowest_ = 0;
  std::vector<int> changes_;  // Of priorities, in steps.
};

}  // namespace thrum::memory_model
