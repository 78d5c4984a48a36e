// Counting, guarding and weighing a crowd. Only arrive() and leave() are called from several threads or
// processes.

#include "lab/crowd.hpp"

#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <new>

#include "lab/child.hpp"
#include "lab/failure.hpp"
#include "lab/usage.hpp"

namespace thrum::lab {
namespace {

using clock = std::chrono::steady_clock;

double seconds_since(clock::time_point t) { return std::chrono::duration<double>(clock::now() - t).count(); }

double seconds_of(const timeval& t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6; }

struct cpu_times {
  double user = 0, system = 0;
};

cpu_times cpu_of_self_and_children() {
  cpu_times sum;
  for (int who : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
    rusage used{};
    getrusage(who, &used);
    sum.user += seconds_of(used.ru_utime);
    sum.system += seconds_of(used.ru_stime);
  }
  return sum;
}

}  // namespace

crowd::crowd(const nlohmann::json& order, made_of kind)
    : wanted_(order.at("count").get<std::int64_t>()),
      nap_(std::chrono::duration_cast<std::chrono::nanoseconds>(
          std::chrono::duration<double>(order.at("sleep_s").get<double>()))),
      must_overlap_(order.value("must_overlap", false)) {
  void* shared = mmap(nullptr, sizeof(counters), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) throw failure("no shared memory for the counters");
  counts_ = new (shared) counters;
  if (kind == made_of::kernel_tasks) room_ = room_for_kernel_tasks();
  if (std::int64_t most = order.value("kernel_tasks_max", std::int64_t{0}); room_ && most > 0 && most < room_->tasks)
    room_ = {most, "the tour's own limit, to be short"};
  cpu_times before = cpu_of_self_and_children();
  user_before_ = before.user;
  system_before_ = before.system;
  memory_before_ = resident_bytes(getpid());
  tables_before_ = page_table_bytes(getpid());
  kernel_before_ = kernel_bytes();
  start_ = told_ = clock::now();
}

crowd::~crowd() { munmap(counts_, sizeof(counters)); }

std::optional<std::string> crowd::reason_to_stop() {
  if (room_ && made_ >= room_->tasks) return room_->limit;
  if (made_ % 512 == 511 && !enough_memory()) return memory_guard_phrase();
  return std::nullopt;
}

bool crowd::wants_another() {
  if (made_ >= wanted_ || !limit_.empty()) return false;
  if (auto reason = reason_to_stop()) {
    limit_ = *reason;
    return false;
  }
  give_up_if_short();
  if (++made_ % 256 == 0) report_progress();
  return true;
}

// The first has already woken up although not all have been made: the run cannot show what was asked. The
// parent tries again with a longer sleep; it also ends what this process leaves behind.
void crowd::give_up_if_short() {
  if (!must_overlap_ || counts_->left.load(std::memory_order_relaxed) == 0) return;
  say({{"too_short", true}});
  _exit(0);
}

void crowd::stop(const std::string& limit) {
  --made_;
  limit_ = limit;
}

void crowd::leave() {
  std::int64_t before = counts_->left.fetch_add(1, std::memory_order_relaxed);
  std::int64_t alive = counts_->arrived.load(std::memory_order_relaxed) - before;
  std::int64_t seen = counts_->alive_max.load(std::memory_order_relaxed);
  while (alive > seen && !counts_->alive_max.compare_exchange_weak(seen, alive, std::memory_order_relaxed)) {
  }
}

void crowd::report_progress() {
  if (seconds_since(told_) < 0.1) return;
  told_ = clock::now();
  say({{"progress", static_cast<double>(made_) / static_cast<double>(wanted_)}, {"made", made_}});
}

void crowd::weigh(const std::function<void()>& pause, const std::vector<pid_t>& processes) {
  while (counts_->arrived.load() < made_ && counts_->left.load() == 0) pause();
  are_processes_ = !processes.empty();
  kernel_peak_ = kernel_bytes();
  memory_peak_ = are_processes_ ? proportional_bytes(processes) : resident_bytes(getpid());
  tables_peak_ = page_table_bytes(getpid());
  say({{"progress", 1.0}, {"made", made_}, {"asleep", true}});
}

void crowd::finish() {
  double wall = seconds_since(start_);
  cpu_times after = cpu_of_self_and_children();
  if (made_ == 0) throw failure("not even one activity could be started: " + limit_);
  // A single process's own peak is exact; of many processes only the weighing is known.
  double peak = are_processes_ ? memory_peak_ : std::max(memory_peak_, resident_bytes_peak(getpid()));
  double base = are_processes_ ? 0 : memory_before_;
  auto count = static_cast<double>(made_);
  nlohmann::json result = {{"activities", made_},
                           {"alive_max", counts_->alive_max.load()},
                           {"sleep_s", std::chrono::duration<double>(nap_).count()},
                           {"wall_s", wall},
                           {"user_s", after.user - user_before_},
                           {"system_s", after.system - system_before_},
                           {"rss_peak_bytes", peak},
                           {"rss_bytes_each", (peak - base) / count}};
  if (!are_processes_) result["rss_and_page_tables_bytes_each"] = (peak - base + tables_peak_ - tables_before_) / count;
  // The kernel's own books are kept for the whole machine: below a thousand activities they are mostly noise.
  if (made_ >= 1000) result["kernel_bytes_each"] = std::max(0.0, kernel_peak_ - kernel_before_) / count;
  if (!limit_.empty()) result["limit"] = limit_;
  say({{"result", result}});
}

}  // namespace thrum::lab
