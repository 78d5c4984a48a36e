// Connecting to whichever endpoint answers first: who is tried when (RFC 8305, sections 3 to 5).
//
// connection_race decides and never waits; run_attempts() and its twin start what it wants to be tried as children of a
// scope, and tell it what they report. A race belongs to one activity: children only tell() it something.
// Addresses may become known while attempts are under way: whoever looks for them reports them as an `answer`.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

#include <thrum/clock.hpp>
#include <thrum/detail/object_lock.hpp>
#include <thrum/event.hpp>
#include <thrum/net/connect.hpp>
#include <thrum/scope.hpp>
#include <thrum/task.hpp>

namespace thrum::net {

class connection_race {
 public:
  // What addresses are still looked for: a set of bits.
  using searches = unsigned;
  static constexpr searches none = 0, for_v6 = 1, for_v4 = 2, elsewhere = 4;

  struct attempt {
    endpoint to;
    tcp_stream stream;
    std::error_code error;
  };
  struct answer {
    searches ended;
    std::vector<endpoint> found;
    std::error_code error;  // Why nothing was found.
  };
  using report = std::variant<attempt, answer>;

  connection_race(const connect_options& options, searches under_way);
  connection_race(const connection_race&) = delete;
  connection_race& operator=(const connection_race&) = delete;

  // For children. Never waits, and is no cancellation point: every attempt and every search is reported, however it
  // ended.
  void tell(report r);
  event told;  // Since the last take_reports().

  void add(std::span<const endpoint> found);
  void take_reports();
  void cancel() noexcept { cancelled_ = true; }

  bool goes_on() const noexcept;
  std::optional<endpoint> next_to_try();        // Empty: wait for a report until wakes_at().
  clock::time_point wakes_at() const noexcept;  // time_point::max(): a report alone can bring something new.

  tcp_stream finish(std::error_code& error);
  // "192.0.2.1:80: Connection refused; 192.0.2.2:80: No route to host"
  std::string failures_in_words() const;

 private:
  void note(attempt a);
  void note(answer a);
  bool all_tried() const noexcept { return v6_.empty() && v4_.empty(); }
  std::error_code why_not() const noexcept;

  const connect_options options_;
  const std::int64_t deadline_ns_;
  std::deque<endpoint> v6_, v4_;  // Not tried yet.
  bool v6_is_next_ = true;
  bool any_tried_ = false;
  std::int64_t next_attempt_ns_ = 0;  // Not before.
  unsigned running_ = 0;
  searches under_way_;
  bool cancelled_ = false;
  std::optional<tcp_stream> winner_;
  std::vector<std::pair<endpoint, std::error_code>> failures_;
  std::error_code search_error_;

  detail::object_lock lock_;
  std::vector<report> reports_;  // Guarded by it.
};

// Those who look for addresses while others are tried already.
class address_search {
 public:
  virtual ~address_search() = default;
  // Starts what reports an `answer` for every search under way, as children of the scope.
  virtual void start(scope& children, connection_race& race) = 0;
};

// Returns when the race is decided and all children have ended. Null: nobody looks for further addresses. Throws what a
// child throws, and what starting one throws. On cancellation from outside the race is told, and nothing thrown.
void run_attempts(connection_race& race, address_search* search);
task<> async_run_attempts(connection_race& race, address_search* search);

[[noreturn]] void raise_connect_error(const std::error_code& error, const std::string& to, const connection_race& race);

}  // namespace thrum::net
