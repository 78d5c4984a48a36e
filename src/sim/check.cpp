// Many schedules, each batch in a child process; the failing one is shrunk, and told.
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <exception>
#include <new>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <unordered_map>

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/clock.hpp"
#include "os/memory.hpp"
#include "os/report.hpp"
#include "sim/allocations.hpp"
#include "sim/world.hpp"

namespace thrum::sim {
namespace {

constexpr std::size_t output_max = std::size_t{64} << 10;  // Of what a child printed, the end.
constexpr std::size_t schedules_per_self_check = 64;
constexpr int attempts_to_shrink = 400;
constexpr int diverged_status = 3;

// What a child leaves behind, however it ends. In memory that parent and child share.
struct record {
  static constexpr std::uint32_t choices_max = 1 << 20;

  std::atomic<std::uint64_t> schedule{0};   // The one under way,
  std::atomic<std::uint64_t> horizon{0};    // the horizon it has,
  std::atomic<std::uint32_t> made{0};       // how many decisions it has made,
  std::uint32_t choices[choices_max];       // and which.
  std::atomic<std::uint64_t> decisions{0};  // In those before it.
  std::atomic<bool> exhausted{false};
  std::atomic<bool> finished{false};  // The child has done what it was to do, well or not.
};

class shared_record final : public recorder {
 public:
  shared_record() : memory_(os::reserve_shared(sizeof(record))) {
    if (!memory_) throw std::system_error(ENOMEM, std::generic_category(), "thrum: sim: no memory to share");
    record_ = new (memory_) record;
  }
  ~shared_record() override { os::release(memory_, sizeof(record)); }
  shared_record(const shared_record&) = delete;
  shared_record& operator=(const shared_record&) = delete;

  void decided(const decision& d) noexcept override {
    decisions_.push_back(d);
    const auto n = record_->made.load(std::memory_order_relaxed);
    if (n < record::choices_max) record_->choices[n] = static_cast<std::uint32_t>(d.choice);
    record_->made.store(n + 1, std::memory_order_release);
  }
  void begin(std::uint64_t index, std::uint64_t horizon) noexcept {
    record_->schedule.store(index, std::memory_order_relaxed);
    record_->horizon.store(horizon, std::memory_order_relaxed);
    record_->made.store(0, std::memory_order_release);
    decisions_.clear();
  }
  const std::vector<decision>& decisions() const noexcept { return decisions_; }
  record* operator->() const noexcept { return record_; }

  std::vector<deviation> deviations() const {
    std::vector<deviation> all;
    const auto n = std::min(record_->made.load(std::memory_order_acquire), record::choices_max);
    for (std::uint32_t i = 0; i < n; ++i)
      if (record_->choices[i] != 0) all.push_back({i, record_->choices[i]});
    return all;
  }

 private:
  void* const memory_;
  record* record_;
  std::vector<decision> decisions_;
};

struct ending {
  int status = 0;  // As waitpid() tells it.
  bool hung = false;
  bool finished = false;  // Not ended by the program.
  std::string output;

  bool passed() const noexcept { return finished && status == 0; }
  bool is_like(const ending& other) const noexcept {
    return hung == other.hung && finished == other.finished && status == other.status;
  }
  std::string how() const {
    if (hung) return "it hangs";
    if (WIFSIGNALED(status)) return "it is ended by signal " + std::to_string(WTERMSIG(status));
    if (!finished) return "it ends the process with status " + std::to_string(WEXITSTATUS(status));
    return WEXITSTATUS(status) == diverged_status ? "the same schedule, run twice, was not the same"
                                                  : "an exception or an expectation";
  }
};

class explorer {
 public:
  explorer(const std::function<void()>& program, const budget& b, std::source_location where)
      : program_(program), budget_(b), where_(where) {}

  verdict explore() {
    verdict v;
    horizon_ = budget_.each.horizon;
    const auto e = in_child([this] { return is_exhaustive() ? exhaust() : run_all(); });
    v.schedules = record_->schedule.load() + 1;
    v.decisions = record_->decisions.load();
    v.exhausted = record_->exhausted.load();
    if (e.passed()) return v;
    v.passed = false;
    tell(nth(record_->schedule.load(), record_->horizon.load()), e, v);
    return v;
  }

 private:
  bool is_exhaustive() const noexcept { return budget_.how == strategy::exhaustive; }

  // A schedule to be tried: the decisions that depart from running in turn, and how many of them preempt.
  struct branch {
    std::vector<deviation> script;
    unsigned preemptions = 0;
  };
  // By states: with how few preemptions one was reached.
  using states = std::unordered_map<std::uint64_t, unsigned>;

  // In the child, as run_all(). Each schedule tells what could have been decided otherwise after its last deviation.
  int exhaust() {
    std::deque<branch> open(1);
    states seen;
    for (std::size_t i = 0; i < budget_.schedules && !open.empty(); ++i) {
      schedule s = nth(0, 0);
      const branch b = std::move(open.front());
      open.pop_front();
      s.deviations = b.script;
      record_.begin(i, 0);
      const auto t = succeeds(s, false);
      if (!t) return failure_status;
      record_->decisions.fetch_add(t->decisions);
      add_those_with_one_more(b, s.chosen, seen, open);
    }
    record_->exhausted.store(open.empty());
    return 0;
  }

  // Up to a state that has been reached before with as few preemptions: what can follow it has been added then.
  void add_those_with_one_more(const branch& b, const options& o, states& seen, std::deque<branch>& open) const {
    const auto& made = record_.decisions();
    auto preemptions = b.preemptions;
    for (std::size_t at = b.script.empty() ? 0 : b.script.back().decision + 1; at < made.size(); ++at) {
      const auto& d = made[at];
      if (o.reduction) {
        const auto [found, is_new] = seen.try_emplace(d.state, preemptions);
        if (!is_new && found->second <= preemptions) return;
        found->second = preemptions;
      }
      for (std::size_t choice = 1; choice < d.candidates; ++choice) {
        const auto with_it = preemptions + cost(d, choice);
        if (with_it > o.depth) continue;
        if (open.size() > budget_.schedules) return;  // More than will be tried.
        open.push_back({b.script, with_it});
        open.back().script.push_back({static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(choice)});
      }
      preemptions += cost(d, 0);
    }
  }

  // Who could go on is preempted, or who gave way goes on although others could.
  static unsigned cost(const decision& d, std::size_t choice) noexcept {
    if (d.last == nobody) return 0;
    return d.last_is_preempted == (choice != d.last) ? 1 : 0;
  }

  // In the child: the exit status.
  int run_all() {
    auto end = budget_.schedules;
    for (std::size_t i = 0; i < end; ++i) {
      const auto s = nth(i, horizon_);
      record_.begin(i, horizon_);
      const census known = census_;
      const auto first = succeeds(s, false);
      if (!first) return failure_status;
      record_->decisions.fetch_add(first->decisions);
      if (budget_.in_turn != fault::none && i == 0) end = std::min<std::size_t>(end, places_in(*first) + 1);
      longest_ = std::max(longest_, static_cast<std::size_t>(first->decisions));
      horizon_ = longest_;
      if (i % schedules_per_self_check != 0) continue;
      record_.begin(i, s.chosen.horizon);
      census_ = known;
      const auto second = succeeds(s, false);
      if (!second) return failure_status;
      if (first == second) continue;
      os::report("thrum: sim: the program depends on something that is not simulated\n");
      return diverged_status;
    }
    return 0;
  }

  // How often it could go wrong.
  std::uint64_t places_in(const trace& t) const noexcept {
    return budget_.in_turn == fault::allocation ? t.allocations : budget_.in_turn == fault::start ? t.starts : t.calls;
  }

  // Nothing when it fails.
  std::optional<trace> succeeds(const schedule& s, bool tells) {
    trace t;
    try {
      t = run_in_world(s,
                       {.program = program_, .where = where_, .told = &record_, .tells = tells, .counted = &census_});
    } catch (const std::bad_alloc& e) {
      if (s.chosen.goes_wrong != fault::allocation) return failed_by(e.what());
    } catch (const std::system_error& e) {
      if (s.chosen.goes_wrong != fault::start || e.code() != std::errc::resource_unavailable_try_again)
        return failed_by(e.what());
    } catch (const std::exception& e) {
      return failed_by(e.what());
    } catch (...) {
      return failed_by("not a std::exception");
    }
    if (budget_.failed && budget_.failed()) return {};
    return t;
  }

  static std::optional<trace> failed_by(const char* exception) {
    os::report("thrum: sim: an exception has left the program: %s\n", exception);
    return {};
  }

  schedule nth(std::size_t i, std::size_t horizon) const {
    schedule s;
    s.chosen = budget_.each;
    s.chosen.seed = budget_.first_seed + i;
    s.chosen.how = budget_.how.value_or(i % 2 == 0 ? strategy::random_walk : strategy::pct);
    s.chosen.horizon = horizon;
    s.scripted = is_exhaustive();
    if (budget_.in_turn == fault::none) return s;
    s.chosen.seed = budget_.first_seed;
    s.chosen.how = budget_.how.value_or(strategy::random_walk);
    s.chosen.horizon = budget_.each.horizon;
    s.chosen.goes_wrong = budget_.in_turn;
    s.chosen.goes_wrong_at = i;
    return s;
  }

  ending attempt(const schedule& s, bool tells) {
    return in_child([&] {
      record_.begin(0, 0);
      return succeeds(s, tells) ? 0 : failure_status;
    });
  }

  void tell(schedule s, const ending& first, verdict& v) {
    ending last = first;
    bool replays = true;
    if (!first.finished || WEXITSTATUS(first.status) != diverged_status) {
      schedule scripted = s;
      scripted.scripted = true;
      scripted.deviations = record_.deviations();
      // A census is not in the line. Of `exhaustive` no schedule with fewer deviations has failed.
      if (s.chosen.how == strategy::uniform || is_exhaustive()) s = scripted;
      if (!is_exhaustive() && budget_.shrink && !first.hung && attempt(scripted, false).is_like(first))
        s = shrunk(std::move(scripted), first);
      last = attempt(s, true);
      replays = last.is_like(first);
    }
    v.replay = to_line(s);
    v.report = "schedule " + std::to_string(v.schedules) + " of " + std::to_string(budget_.schedules) +
               " fails: " + first.how() + "\nreplay it with " + v.replay + "\n";
    if (!replays) v.report += "(but it does not replay: the program depends on something that is not simulated)\n";
    v.report += "who ran when, and what it printed:\n" + last.output;
  }

  // Leaves out deviations, in ever smaller groups, as long as the schedule fails in the same way. What is left out
  // changes what the later ones mean, so one that was needed at first may not be needed in the end.
  schedule shrunk(schedule s, const ending& failure) {
    attempts_left_ = attempts_to_shrink;
    for (std::size_t group = s.deviations.size() / 2; group > 1; group /= 2) leave_out(s, group, failure);
    while (leave_out(s, 1, failure)) {
    }
    return s;
  }

  // True when any could be left out.
  bool leave_out(schedule& s, std::size_t group, const ending& failure) {
    const auto before = s.deviations.size();
    for (std::size_t at = 0; at < s.deviations.size() && attempts_left_ > 0; --attempts_left_) {
      schedule fewer = s;
      const auto first = fewer.deviations.begin() + static_cast<std::ptrdiff_t>(at);
      const auto n = std::min(group, s.deviations.size() - at);
      fewer.deviations.erase(first, first + static_cast<std::ptrdiff_t>(n));
      if (attempt(fewer, false).is_like(failure))
        s = std::move(fewer);
      else
        at += n;
    }
    return s.deviations.size() < before;
  }

  template <class Body>
  ending in_child(Body body) {
    record_->finished.store(false);
    std::fflush(nullptr);  // What is buffered would be printed twice.
    int ends[2];
    if (::pipe(ends) != 0) throw std::system_error(errno, std::generic_category(), "thrum: sim: no pipe to a child");
    const pid_t child = ::fork();
    if (child < 0) {
      const int error = errno;
      ::close(ends[0]);
      ::close(ends[1]);
      throw std::system_error(error, std::generic_category(), "thrum: sim: no child process");
    }
    if (child == 0) {
      ::close(ends[0]);
      ::dup2(ends[1], STDOUT_FILENO);
      ::dup2(ends[1], STDERR_FILENO);
      ::close(ends[1]);
      const int status = body();
      record_->finished.store(true);
      std::fflush(nullptr);
      ::_exit(status);
    }
    ::close(ends[1]);
    ending e;
    e.hung = !listen(ends[0], e.output);
    ::close(ends[0]);
    if (e.hung) ::kill(child, SIGKILL);
    while (::waitpid(child, &e.status, 0) < 0 && errno == EINTR) {
    }
    e.finished = record_->finished.load();
    return e;
  }

  // Until the child has closed its end. False when it makes no progress any more.
  bool listen(int fd, std::string& output) {
    std::uint64_t seen = 0;
    auto since = os::now_ns();
    char block[4096];
    for (;;) {
      pollfd p{.fd = fd, .events = POLLIN, .revents = 0};
      if (::poll(&p, 1, 100) > 0) {
        const auto n = ::read(fd, block, sizeof block);
        if (n <= 0) return true;
        output.append(block, static_cast<std::size_t>(n));
        if (output.size() > 2 * output_max) output.erase(0, output.size() - output_max);
      }
      const auto now = record_->schedule.load() << 32 ^ record_->made.load();
      if (now != seen) since = os::now_ns();
      seen = now;
      if (os::now_ns() - since > std::chrono::nanoseconds(budget_.patience).count()) return false;
    }
  }

  const std::function<void()>& program_;
  const budget& budget_;
  const std::source_location where_;
  shared_record record_;
  std::size_t horizon_ = 0;  // For the next schedule: the longest one yet.
  census census_;            // Of the last schedule; for the strategy `uniform`, others leave it empty.
  std::size_t longest_ = 1;
  int attempts_left_ = 0;
};

}  // namespace

verdict check(const std::function<void()>& program, const budget& b, std::source_location where) {
  if (b.in_turn == fault::allocation && !allocations_are_counted())
    throw std::logic_error("thrum: sim: for allocations that fail, include <thrum/sim_allocations.hpp> in one source");
  if (!std::getenv("THRUM_SIM")) return explorer(program, b, where).explore();
  verdict v;
  v.schedules = 1;
  v.decisions = run(b.each, program, where).decisions;
  v.passed = !b.failed || !b.failed();
  return v;
}

}  // namespace thrum::sim
