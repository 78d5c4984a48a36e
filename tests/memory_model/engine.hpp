// The explorer's inside: the threads of an execution, and what their operations do.
#pragma once

#include <array>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "context/context.hpp"
#include "memory_model/chooser.hpp"
#include "memory_model/explorer.hpp"
#include "memory_model/late_reads.hpp"
#include "memory_model/memory.hpp"

namespace thrum::memory_model {

struct event {
  std::size_t thread;
  operation what;
  std::memory_order order;
  std::size_t where = SIZE_MAX;  // Location; none for fences.
  bool stale = false, late = false, changed = false;
  std::uint64_t read = 0, stored = 0;
  site at = {};
};

// `failed`: while a guess is open.
enum class condition : std::uint8_t { ready, yielded, asleep, joins, failed, ended };

struct model_thread {
  const char* name = "";
  std::function<void()> body;
  condition is = condition::ended;
  const void* sleeps_on = nullptr;
  bool may_time_out = false, timed_out = false;
  int yielded_at = 0;             // In steps.
  std::size_t waits_for_end = 0;  // Of another thread.
  void* local = nullptr;
  context::context ctx;
  std::unique_ptr<char[]> stack;

  bool can_run() const {
    return is == condition::ready || is == condition::yielded || (is == condition::asleep && may_time_out);
  }
};

// A mutation applies to functions by name; the compiler's strings are few, so they are compared once each.
class mutation_sites {
 public:
  void aim(const mutation& m) {
    change_ = m;
    known_.clear();
  }
  bool hits(operation what, const site& s) {
    if (!change_.function || what != change_.what) return false;
    for (const auto& [name, hit] : known_)
      if (name == s.function_name()) return hit;
    known_.emplace_back(s.function_name(), std::strstr(s.function_name(), change_.function) != nullptr);
    return known_.back().second;
  }
  const mutation& change() const { return change_; }

 private:
  mutation change_;
  std::vector<std::pair<const char*, bool>> known_;
};

class engine {
 public:
  outcome explore(const limits& l, const std::function<void(program&)>& set_up);
  std::size_t add(const char* name, std::function<void()> body);
  void set_last(std::function<void()> body) { last_ = std::move(body); }

  bool running() const { return running_; }
  std::size_t current() const { return current_; }
  void*& local() { return threads_[current_].local; }
  [[noreturn]] void fail(const std::string& why);
  void yield();
  void join(std::size_t thread);
  void created(const void* object, std::uint64_t value) { memory_.create(object, value); }
  void destroyed(const void* object);
  std::uint64_t load(const void* object, std::uint64_t plain, std::memory_order o, const site& s);
  void store(const void* object, std::uint64_t plain, std::uint64_t value, std::memory_order o, const site& s);
  std::uint64_t modify(const void* object, std::uint64_t plain, const changing& change, std::memory_order success,
                       std::memory_order failure, const site& s);
  bool fails_spuriously();
  void fence(std::memory_order o, const site& s);
  void membarrier(const site& s);
  bool wait(const void* object, std::uint32_t expected, bool may_time_out, const site& s);
  void wake(const void* object, int count, const site& s);
  void access_plain(plain_history& h, bool write, const site& s);

 private:
  // Threads (explorer.cpp).
  void execute(const std::function<void(program&)>& set_up);
  void run(std::size_t next);
  void step();
  void leave();
  void end_thread();
  void switch_to(std::size_t next);
  [[noreturn]] void leave_execution();
  [[noreturn]] void discard();
  static void thread_main(void* self);

  // Operations (operations.cpp).
  void finish_step();
  bool mutated(operation what, const site& s, mutation::kind how);
  std::memory_order weakened(operation what, std::memory_order o, const site& s);
  std::size_t place_of(const void* object, std::uint64_t plain);
  std::uint16_t choose_read(const std::vector<std::uint16_t>& readable, std::size_t where);
  void read(event& e);
  void read_now(event& e, std::uint16_t number);
  void read_or_wait(event& e);
  void fence_of(std::size_t thread, std::memory_order o);
  void stored(const event& e);

  // Its story (story.cpp).
  std::string story(const std::string& why) const;
  std::string tell(const event& e) const;

  limits limits_;
  outcome outcome_;
  mutation_sites mutations_;
  chooser chooser_;

  // Of the execution.
  memory memory_;
  late_reads late_{memory_};
  std::vector<event> events_;
  std::array<model_thread, threads_max> threads_;
  std::size_t count_ = 1;  // Of threads, with the one that sets up.
  std::size_t current_ = 0;
  int preemptions_left_ = 0, stale_left_ = 0, spurious_left_ = 0, steps_ = 0;
  bool running_ = false;
  bool started_ = false;    // The threads have.
  bool discarded_ = false;  // It is none that memory allows, or none that is looked at.
  std::string failure_;     // While a guess is open: what counts if that comes true.
  std::function<void()> last_;
  context::context explorer_;
};

extern engine the_engine;

}  // namespace thrum::memory_model
