// The crowd that `million` asks each model to raise: N activities that sleep at the same time.
//
// The models decide how an activity is made; this counts, watches the machine's limits and measures, so that
// all models are counted and measured alike. The counters lie in shared memory because processes count here
// as well.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "lab/limits.hpp"

namespace thrum::lab {

class crowd {
 public:
  enum class made_of { fibers_or_tasks, kernel_tasks };  // A thread or process is a task of the kernel: it needs an id.

  crowd(const nlohmann::json& order, made_of kind);
  ~crowd();
  crowd(const crowd&) = delete;
  crowd& operator=(const crowd&) = delete;

  // Whether one more is wanted and the machine has room for it. Counts it as made.
  bool wants_another();
  // The last one could not be made: this is why.
  void stop(const std::string& limit);

  // Called by each activity around its sleep.
  void arrive() { counts_->arrived.fetch_add(1, std::memory_order_relaxed); }
  void leave();
  std::chrono::nanoseconds nap() const { return nap_; }

  std::int64_t wanted() const { return wanted_; }

  // Waits until all that were made have arrived, then weighs them. `pause` sleeps for a moment in the model's
  // own way; `processes` are the activities if they are processes.
  void weigh(const std::function<void()>& pause, const std::vector<pid_t>& processes = {});
  // All have left: sends the result to the parent.
  void finish();

 private:
  struct counters {
    std::atomic<std::int64_t> arrived{0};
    std::atomic<std::int64_t> left{0};
    std::atomic<std::int64_t> alive_max{0};
  };

  std::optional<std::string> reason_to_stop();
  void give_up_if_short();
  void report_progress();

  counters* counts_;
  std::int64_t wanted_;
  std::int64_t made_ = 0;
  std::chrono::nanoseconds nap_;
  bool must_overlap_;
  std::optional<kernel_task_room> room_;
  std::string limit_;
  std::chrono::steady_clock::time_point start_;
  std::chrono::steady_clock::time_point told_;
  double user_before_ = 0, system_before_ = 0;
  double memory_before_ = 0, tables_before_ = 0, kernel_before_ = 0;
  double memory_peak_ = 0, tables_peak_ = 0, kernel_peak_ = 0;
  bool are_processes_ = false;
};

}  // namespace thrum::lab
