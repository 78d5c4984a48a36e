// What the soak does all the time. A trade works until it is cancelled, wherever that meets it, and keeps accounts that
// balance once nobody works any more.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

namespace thrum::soak {

// Accounts that do not balance.
class discrepancy : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};
inline void require(bool holds, const char* what) {
  if (!holds) throw discrepancy(what);
}

// Fibers, descriptors or memory were used up, as they are meant to be now and then.
bool no_room(const std::system_error& e) noexcept;

class trade {
 public:
  explicit trade(std::uint64_t seed) : random_(seed) {}
  virtual ~trade() = default;
  virtual const char* name() const noexcept = 0;

  virtual void work() = 0;   // In a fiber, until it is cancelled; then nobody works. Throws where no_room() holds, too.
  virtual void check() = 0;  // Afterwards. Throws discrepancy.

  std::uint64_t done() const noexcept { return done_.load(std::memory_order_relaxed); }

 protected:
  void count() noexcept { done_.fetch_add(1, std::memory_order_relaxed); }
  // By work() alone; its fibers have generators of their own.
  std::uint64_t draw() { return random_(); }

 private:
  std::mt19937_64 random_;
  std::atomic<std::uint64_t> done_{0};
};

enum class surroundings { real, simulated };

// One of each; in a simulation only those that need neither threads nor real time.
std::vector<std::unique_ptr<trade>> all_trades(std::uint64_t seed, surroundings where);

}  // namespace thrum::soak
