// Is what a concurrent object did explained by an order in which its operations happened one at a time? Of operations
// that did not overlap the order is given, and the object's model says what each may return.
//
//   struct account {                                         // The model, sequential.
//     using state = long;                                    // Copied, and compared with ==.
//     static state initial() { return 0; }
//     // May the call return that in this state? Then the state afterwards. No result: it has not returned.
//     static bool apply(state& s, const deposit& d, const std::optional<long>& result) {
//       s += d.amount;
//       return !result || *result == s;
//     }
//     static std::string describe(const deposit& d, const std::optional<long>& result);
//     // Optional: operations with different keys do not concern each other. They are looked at apart, which is faster.
//     static auto key(const deposit& d) { return d.account; }
//   };
//
//   thrum::history<deposit, long> h;
//   … in many fibers, tasks or threads …  h.record(deposit{7}, [&] { return bank.deposit(7); });
//   const auto v = thrum::linearizable<account>(h);
//   if (v.outcome != thrum::linearity::linearizable) std::puts(v.report.c_str());
//
// In a simulation (sim.hpp) the many orders are tried too. The question is NP-complete: histories of some dozens of
// operations at a time and key are what it is for, and `steps_max` bounds what is spent.
//
// The notion: Herlihy and Wing, "Linearizability" (1990). The search: Wing and Gong, "Testing and verifying concurrent
// objects" (1993), with the memory of Lowe, "Testing for linearizability" (2017); keys: Horn and Kroening, "Faster
// linearizability checking via P-compositionality" (2015).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <thrum/detail/object_lock.hpp>
#include <thrum/fiber.hpp>

namespace thrum {

// What was called, by whom, when, and what came back. Any fiber, task or thread, also several at a time.
template <class Call, class Result>
class history {
 public:
  using call_type = Call;
  using result_type = Result;
  struct operation {
    Call call;
    std::uint64_t who;    // this_fiber::get_id(): 0 for a thread.
    std::uint64_t begun;  // Beginnings and ends are numbered in the order in which they happened.
    std::uint64_t ended = UINT64_MAX;
    std::optional<Result> result = {};  // None: it has not returned, and has happened or not.
  };

  // Calls f() and notes what it returns. May suspend, and throws, as f() does; what has thrown has not returned.
  template <class F>
  Result record(Call call, F&& f) {
    const auto number = begin(std::move(call));
    Result r = std::invoke(std::forward<F>(f));
    end(number, r);
    return r;
  }

  // The same in two steps, for a co_await in between.
  std::size_t begin(Call call) {
    const auto who = this_fiber::get_id();
    std::lock_guard held(lock_);
    operations_.push_back({std::move(call), who, next_++});
    return operations_.size() - 1;
  }
  void end(std::size_t number, Result r) {
    std::lock_guard held(lock_);
    operations_[number].ended = next_++;
    operations_[number].result = std::move(r);
  }

  std::vector<operation> operations() const {
    std::lock_guard held(lock_);
    return operations_;
  }

 private:
  mutable detail::object_lock lock_;  // Held while calls and results are moved, and copied at the end.
  std::vector<operation> operations_;
  std::uint64_t next_ = 0;
};

enum class linearity { linearizable, not_linearizable, undecided };

struct linearity_verdict {
  linearity outcome = linearity::linearizable;
  std::size_t steps = 0;    // Operations tried.
  std::string report = {};  // Why not: the longest order that was found, and what may not follow.
};

namespace detail {

// The operations of one key. Depth first: what has begun before all that has not been placed has ended may be next.
template <class Model, class Operation>
class linearizer {
 public:
  linearizer(std::vector<const Operation*> all, std::size_t steps_left)
      : all_(std::move(all)), steps_left_(steps_left), links_(2 * all_.size() + 1), placed_(all_.size()) {
    link_events();
  }

  linearity search() {
    for (auto event = links_[head()].next; not_placed_ > 0;) {
      const auto i = event / 2;
      if (event != beginning_of(i)) {  // Something should have come before this end.
        if (path_.empty()) return linearity::not_linearizable;
        event = links_[beginning_of(take_back())].next;
      } else if (steps_left_ == 0) {
        return linearity::undecided;
      } else {
        event = try_next(i) ? links_[head()].next : links_[event].next;
      }
    }
    return linearity::linearizable;
  }

  std::size_t steps_left() const noexcept { return steps_left_; }

  std::string report() const {
    std::vector<bool> placed(all_.size());
    std::string s = "of " + std::to_string(all_.size()) + " operations these can be put in order:\n";
    for (const auto i : longest_) {
      placed[i] = true;
      s += line(i);
    }
    auto first_end = UINT64_MAX;
    for (std::size_t i = 0; i < all_.size(); ++i)
      if (!placed[i]) first_end = std::min(first_end, all_[i]->ended);
    s += "and none of these can be next:\n";
    for (std::size_t i = 0; i < all_.size(); ++i)
      if (!placed[i] && all_[i]->begun < first_end) s += line(i);
    return s;
  }

 private:
  using state = typename Model::state;
  struct link {
    std::size_t previous, next;
  };
  struct step {
    std::size_t operation;
    state before;
  };

  // The list has the events of what has not been placed, in their order.
  std::size_t head() const noexcept { return 2 * all_.size(); }
  static std::size_t beginning_of(std::size_t i) noexcept { return 2 * i; }
  static std::size_t end_of(std::size_t i) noexcept { return 2 * i + 1; }
  bool has_returned(std::size_t i) const noexcept { return all_[i]->result.has_value(); }

  void link_events() {
    std::vector<std::pair<std::uint64_t, std::size_t>> events;
    for (std::size_t i = 0; i < all_.size(); ++i) {
      events.emplace_back(all_[i]->begun, beginning_of(i));
      if (!has_returned(i)) continue;
      events.emplace_back(all_[i]->ended, end_of(i));
      ++not_placed_;
    }
    std::sort(events.begin(), events.end());
    auto last = head();
    for (const auto& [when, event] : events) {
      links_[last].next = event;
      links_[event].previous = last;
      last = event;
    }
    links_[last].next = head();
    links_[head()].previous = last;
  }
  void unlink(std::size_t event) noexcept {
    links_[links_[event].previous].next = links_[event].next;
    links_[links_[event].next].previous = links_[event].previous;
  }
  void link_again(std::size_t event) noexcept {
    links_[links_[event].previous].next = event;
    links_[links_[event].next].previous = event;
  }

  bool try_next(std::size_t i) {
    --steps_left_;
    state after = state_;
    if (!Model::apply(after, all_[i]->call, all_[i]->result)) return false;
    placed_[i] = true;
    auto& known = known_[placed_];
    if (std::find(known.begin(), known.end(), after) != known.end()) {
      placed_[i] = false;
      return false;
    }
    known.push_back(after);
    path_.push_back({i, std::exchange(state_, std::move(after))});
    unlink(beginning_of(i));
    if (has_returned(i)) {
      unlink(end_of(i));
      --not_placed_;
    }
    if (path_.size() > longest_.size()) {
      longest_.clear();
      for (const auto& s : path_) longest_.push_back(s.operation);
    }
    return true;
  }
  std::size_t take_back() {
    const auto i = path_.back().operation;
    state_ = std::move(path_.back().before);
    path_.pop_back();
    placed_[i] = false;
    if (has_returned(i)) {
      link_again(end_of(i));
      ++not_placed_;
    }
    link_again(beginning_of(i));
    return i;
  }

  std::string line(std::size_t i) const {
    const auto& o = *all_[i];
    const auto end = o.result ? std::to_string(o.ended) : std::string("...");
    return "  " + (o.who ? "fiber " + std::to_string(o.who) : std::string("thread")) + ", from " +
           std::to_string(o.begun) + " to " + end + ": " + Model::describe(o.call, o.result) + "\n";
  }

  const std::vector<const Operation*> all_;
  std::size_t steps_left_;
  std::vector<link> links_;
  std::vector<step> path_;
  state state_ = Model::initial();
  std::vector<bool> placed_;
  std::unordered_map<std::vector<bool>, std::vector<state>>
      known_;                   // After having placed these: not worth another try.
  std::size_t not_placed_ = 0;  // Of those that have returned.
  std::vector<std::size_t> longest_;
};

}  // namespace detail

// Needs all of the history: nobody may be recording. Does not suspend. A step costs about a microsecond and remembers
// one bit an operation, and a state.
template <class Model, class Call, class Result>
linearity_verdict linearizable(const history<Call, Result>& h, std::size_t steps_max = 1'000'000) {
  using operation = typename history<Call, Result>::operation;
  const auto operations = h.operations();
  const auto key_of = [](const Call& c) {
    if constexpr (requires { Model::key(c); })
      return Model::key(c);
    else
      return 0;
  };
  std::map<decltype(key_of(std::declval<const Call&>())), std::vector<const operation*>> parts;
  for (const auto& o : operations) parts[key_of(o.call)].push_back(&o);
  linearity_verdict v;
  for (auto& [key, part] : parts) {
    detail::linearizer<Model, operation> search(std::move(part), steps_max - v.steps);
    const auto outcome = search.search();
    v.steps = steps_max - search.steps_left();
    if (outcome == linearity::linearizable) continue;
    v.outcome = outcome;
    v.report = outcome == linearity::undecided ? "undecided after " + std::to_string(v.steps) + " steps; so far, "
                                               : "not linearizable: ";
    v.report += search.report();
    if (outcome == linearity::not_linearizable) break;
  }
  return v;
}

}  // namespace thrum
