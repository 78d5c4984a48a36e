// The memory that the checker models: C++20's. Load buffering is in late_reads.hpp.
//
// Model. It is operational, in views (Kang, Hur, Lahav, Vafeiadis and Dreyer, 2017), without promises. Each atomic
// object is a location with the messages (stores) that it has received, in modification order. A thread's view says for
// each location which message it has seen at least: it may read that one or any later one, and what it reads it has
// seen. A store may come anywhere behind what its thread has seen, but not between a read-modify-write and the message
// that it has read. A releasing store carries its thread's view, and an acquiring load takes it over.
//
// seq_cst: one more view holds what the fences and the stores of that order have made known. A seq_cst fence and it
// take over each other; seq_cst operations are bound by it, and the stores among them are added. That is the single
// order of C++20, in which such operations do not order the relaxed ones around them: a fence does.
//
// A view also counts, for each thread, how much of it happens before: that tells races on plain objects. What a
// seq_cst fence alone makes visible does not happen before, so the counts do not travel through the one more view.
//
// Not modelled: what compilers do across a missing atomic_signal_fence.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <vector>

namespace thrum::memory_model {

inline constexpr std::size_t threads_max = 5;  // The first is the one that sets the others up.
inline constexpr std::size_t locations_max = 192;

struct view {
  std::array<std::uint16_t, locations_max> seen{};  // A message's number in its location.
  std::array<std::uint32_t, threads_max> before{};
};

struct message {
  std::uint64_t value = 0;
  view released;
  std::uint32_t rank = 0;    // In modification order.
  bool is_followed = false;  // By a read-modify-write, with nothing between.
  std::uint8_t guesser = 0;  // The thread whose guess it may depend on (late_reads.hpp).
};

// Who has last written and read a plain object, by the writer's own count.
struct plain_history {
  std::size_t writer = 0;
  std::uint32_t written = 0;
  std::array<std::uint32_t, threads_max> read{};
};

struct location {
  const void* object = nullptr;
  std::vector<message> messages;     // By number.
  std::vector<std::uint16_t> order;  // Their numbers in modification order.
  plain_history life = {};           // Every use is a read, the destruction is a write.
  bool is_destroyed = false;
};

class memory {
 public:
  // For a new execution.
  void clear();

  std::size_t find(const void* object) const;  // SIZE_MAX when it has not been touched.
  std::size_t create(const void* object, std::uint64_t value);

  // False: it has been destroyed; others may still use it.
  bool use(std::size_t thread, std::size_t where);
  bool destroy(std::size_t thread, std::size_t where);

  // The numbers of the messages that the thread may read, the newest first.
  std::vector<std::uint16_t> readable(std::size_t thread, std::size_t where, std::memory_order order) const;
  // The numbers of those behind which it may store, the newest first.
  std::vector<std::uint16_t> places(std::size_t thread, std::size_t where, std::memory_order order) const;
  const message& at(std::size_t where, std::uint16_t number) const { return locations_[where].messages[number]; }
  std::uint64_t newest(std::size_t where) const { return at(where, locations_[where].order.back()).value; }
  bool is_newest(std::size_t where, std::uint16_t number) const { return locations_[where].order.back() == number; }

  void read(std::size_t thread, std::size_t where, std::uint16_t number, std::memory_order order);
  void store(std::size_t thread, std::size_t where, std::uint16_t behind, std::uint64_t value, std::memory_order order);
  // After read(): the new message belongs to the release sequence of the one that was read.
  void modify(std::size_t thread, std::size_t where, std::uint16_t number, std::uint64_t value,
              std::memory_order order);
  void fence(std::size_t thread, std::memory_order order);

  // A load of this thread, at its count `when`, has waited for the message.
  void read_late(std::size_t thread, std::size_t where, std::uint16_t number, std::uint32_t when);
  void mark_guessed(std::size_t where, std::uint16_t number, std::size_t thread) {
    locations_[where].messages[number].guesser = static_cast<std::uint8_t>(thread);
  }
  std::uint16_t last_number(std::size_t where) const {
    return static_cast<std::uint16_t>(locations_[where].messages.size() - 1);
  }
  // What `thread` has seen: of a location, and of another thread or itself.
  std::uint16_t seen_by(std::size_t thread, std::size_t where) const { return threads_[thread].current.seen[where]; }
  std::uint32_t seen_of(std::size_t thread, std::size_t other) const { return threads_[thread].current.before[other]; }

  // True: it races.
  bool read_plain(std::size_t thread, plain_history& h) const;
  bool write_plain(std::size_t thread, plain_history& h) const;

  // The thread starts, after all that `by` has done; it has ended, before all that `by` does from now on.
  void begin(std::size_t thread, std::size_t by);
  void end(std::size_t thread, std::size_t by);
  void freshen(std::size_t thread);  // All stores have become visible to it.
  // What it does from now on is told apart from what it has published.
  void step(std::size_t thread) { ++threads_[thread].current.before[thread]; }

 private:
  struct thread_views {
    view current;
    view acquirable;  // What relaxed loads have read, for an acquire fence.
    view fenced;      // Current at the last release fence.
  };

  std::uint32_t rank(std::size_t where, std::uint16_t number) const { return at(where, number).rank; }
  std::uint32_t bound(std::size_t thread, std::size_t where, std::memory_order order) const;
  void see(view& v, const view& other) const;
  void see_stores(view& v, const view& other) const;
  void insert(std::size_t thread, std::size_t where, std::uint16_t behind, const message& m, std::memory_order order);

  std::array<location, locations_max> locations_;  // They keep their room from one execution to the next.
  std::size_t count_ = 0;
  std::array<thread_views, threads_max> threads_;
  view sequential_;
};

}  // namespace thrum::memory_model
