// Load buffering: a relaxed load that is carried out after stores that follow it in its thread, and reads a message
// that is yet to come.
//
// The value is guessed, as CDSChecker does (Norris and Demsky, 2013): whatever is stored to a location, and does not
// happen after a load of it that came before, that load may read in executions to come. An execution in which it does
// is valid once some store has brought the value; until then the guess is open, and a failure waits for it.
//
// Compiled code cannot be asked which of its stores depend on the value. So others may read what the thread stores
// while its guess is open only if it makes the same store when it reads what there is and runs on alone. That is how
// promises are certified (Kang, Hur, Lahav, Vafeiadis and Dreyer, 2017), and keeps values from coming out of thin air.
//
// Sound restrictions; what they exclude is discarded: a thread has one open guess; while it is open, nobody
// synchronises with what its thread does after the load, and that thread makes no acquire fence, does not touch the
// location, and calls no futex. The first store that can bring the value does. The values are those of earlier
// executions: so those that are addresses must be the same in each.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "memory_model/explorer.hpp"
#include "memory_model/memory.hpp"

namespace thrum::memory_model {

// A store, or a read-modify-write.
struct stored_value {
  operation what;
  std::size_t where;
  std::uint64_t read, stored;

  bool operator==(const stored_value&) const = default;
};

// What is known of a load from all executions so far that came to it in the same way.
struct late_load {
  std::vector<std::uint64_t> now;    // What it may read without waiting,
  std::vector<std::uint64_t> later;  // and with.
  std::vector<stored_value> alone;   // What its thread stores after it when it runs on alone.
  bool has_run_alone = false;
};

class late_reads {
 public:
  explicit late_reads(memory& m) : memory_(m) {}

  void start(int limit);  // An execution.

  // May this load wait?
  bool may_wait(std::size_t thread, std::memory_order order) const;
  // It does not. `number`: the message that it reads.
  void read(std::size_t thread, std::size_t where, std::uint16_t number, const std::shared_ptr<late_load>& load);
  // It does: what it reads.
  std::uint64_t guess(std::size_t thread, std::size_t where, const std::shared_ptr<late_load>& load, std::size_t which);

  bool any_open() const { return !open_.empty(); }
  bool is_open(std::size_t thread) const;
  void runs_no_longer_alone() { running_alone_.clear(); }

  // False: the execution is to be discarded.
  bool may_touch(std::size_t thread, std::size_t where) const;
  bool may_read(std::size_t thread, std::size_t where, std::uint16_t number) const;
  bool may_go_on(std::size_t thread) const;

  // The newest message by number is one that the thread has stored.
  void stored(std::size_t thread, const stored_value& s);

 private:
  struct waiting_load {
    std::size_t thread, where;
    std::uint16_t seen;    // The message that the thread knew of at the load.
    std::uint32_t before;  // The thread's own count.
    std::shared_ptr<late_load> load;
    std::uint64_t value = 0;  // What was guessed.
  };
  waiting_load note(std::size_t thread, std::size_t where, const std::shared_ptr<late_load>& load);
  const waiting_load* open_of(std::size_t thread) const;
  bool could_read(const waiting_load& l, std::size_t thread, std::size_t where, std::uint16_t number) const;

  memory& memory_;
  int left_ = 0;
  std::vector<waiting_load> loads_;  // That have been carried out, and might have waited; and the open ones.
  std::vector<waiting_load> open_;
  std::vector<std::shared_ptr<late_load>> running_alone_;  // For the first time.
};

}  // namespace thrum::memory_model
