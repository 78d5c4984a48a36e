// Regions, carving with guard installation, warm and cold lists.
#include "context/stack_pool.hpp"

#include <algorithm>
#include <mutex>

#include "os/report.hpp"

namespace thrum::context {
namespace {

constexpr std::size_t carve_batch = 64;
constexpr std::size_t region_bytes = std::size_t{1} << 30;
constexpr std::size_t warm_top_bytes = 4 * os::page_size;  // What trim() leaves of a stack that stays warm.

// mprotect splits mappings: all stacks of the process share this budget of guard pages made that way.
std::atomic<std::size_t> protected_pages{0};
std::atomic<bool> mapping_free_guards{true};  // Until the kernel refuses once.
std::atomic<bool> warned{false};

bool protect_within_budget(char* page) noexcept {
  static const std::size_t budget = os::max_map_count() / 2;
  if (protected_pages.fetch_add(1, std::memory_order_relaxed) < budget && os::protect_page(page)) return true;
  protected_pages.fetch_sub(1, std::memory_order_relaxed);
  return false;
}

void warn_unguarded() noexcept {
  if (!warned.exchange(true))
    os::report(
        "thrum: warning: vm.max_map_count leaves no room for guard pages; further stacks are checked with a "
        "canary at each switch\n");
}

}  // namespace

stack_class::stack_class(std::size_t stack_size, guard_mode mode) noexcept : stack_size_(stack_size), mode_(mode) {}

stack_class::~stack_class() {
  for (const auto& r : regions_) os::release(r.base, r.count * stack_size_);
}

bool stack_class::ensure_capacity(std::size_t count) {
  std::lock_guard growing(growth_lock_);
  for (;;) {
    {
      std::lock_guard held(lock_);
      if (capacity_ >= count) return true;
    }
    std::size_t stacks = std::max<std::size_t>(region_bytes / stack_size_, 1);
    char* base = nullptr;
    // Under an address-space limit (RLIMIT_AS) a smaller region may still fit.
    while (!(base = static_cast<char*>(os::reserve(stacks * stack_size_))) && stacks > 16) stacks /= 2;
    if (!base) return false;
    std::lock_guard held(lock_);
    regions_.push_back({base, stacks, 0});
    capacity_ += stacks;
    // give_back() must not allocate while a fiber ends.
    warm_.reserve(capacity_);
    cold_.reserve(capacity_);
  }
}

std::size_t stack_class::acquire(std::span<stack_ref> out) {
  std::lock_guard held(lock_);
  std::size_t n = 0;
  for (auto* list : {&warm_, &cold_}) {
    while (n < out.size() && !list->empty()) {
      out[n++] = list->back();
      list->pop_back();
    }
  }
  if (n == 0) n = carve(out);
  return n;
}

std::size_t stack_class::carve(std::span<stack_ref> out) {
  for (auto& r : regions_) {
    const auto batch = std::min({r.count - r.carved, carve_batch, out.size()});
    if (batch == 0) continue;
    guard_batch(r.base + r.carved * stack_size_, out.first(batch));
    r.carved += batch;
    return batch;
  }
  return 0;
}

void stack_class::guard_batch(char* first, std::span<stack_ref> out) {
  const bool try_free = mode_ == guard_mode::mapping_free ||
                        (mode_ == guard_mode::automatic && mapping_free_guards.load(std::memory_order_relaxed));
  const bool all = try_free && os::install_guards(first, stack_size_, out.size());
  if (try_free && !all) mapping_free_guards.store(false, std::memory_order_relaxed);
  for (std::size_t i = 0; i < out.size(); ++i) {
    char* base = first + i * stack_size_;
    const bool guarded = all || (mode_ != guard_mode::none && protect_within_budget(base));
    out[i] = stack_ref(base, guarded);
    if (guarded) continue;
    unguarded_.fetch_add(1, std::memory_order_relaxed);
    warn_unguarded();
  }
}

void stack_class::give_back(std::span<const stack_ref> stacks) {
  std::lock_guard held(lock_);
  warm_.insert(warm_.end(), stacks.begin(), stacks.end());
}

void stack_class::trim(std::size_t keep_warm) {
  std::lock_guard growing(growth_lock_);
  std::vector<stack_ref> excess, kept;
  {
    std::lock_guard held(lock_);
    const auto keep = std::min(keep_warm, warm_.size());
    const auto split = warm_.end() - static_cast<std::ptrdiff_t>(keep);
    excess.assign(warm_.begin(), split);
    kept.assign(split, warm_.end());
    warm_.clear();
  }
  for (const auto s : kept)
    if (stack_size_ > os::page_size + warm_top_bytes)
      os::discard(s.base() + os::page_size, stack_size_ - os::page_size - warm_top_bytes);
  discard_runs(excess);
  std::lock_guard held(lock_);
  warm_.insert(warm_.end(), kept.begin(), kept.end());
  cold_.insert(cold_.end(), excess.begin(), excess.end());
}

// Neighbouring stacks are given back with one call; guards, of either kind, survive it.
void stack_class::discard_runs(std::vector<stack_ref>& stacks) {
  std::sort(stacks.begin(), stacks.end(), [](stack_ref a, stack_ref b) { return a.base() > b.base(); });
  for (std::size_t i = 0; i < stacks.size();) {
    std::size_t end = i + 1;
    while (end < stacks.size() && stacks[end].base() + stack_size_ == stacks[end - 1].base()) ++end;
    os::discard(stacks[end - 1].base(), (end - i) * stack_size_);
    i = end;
  }
}

std::size_t stack_class::capacity() const noexcept {
  std::lock_guard held(lock_);
  return capacity_;
}

std::size_t stack_class::warm_count() const noexcept {
  std::lock_guard held(lock_);
  return warm_.size();
}

}  // namespace thrum::context
