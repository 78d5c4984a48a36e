// Right uses of thrum's locks, about which Clang's thread safety analysis says nothing.
#include <chrono>
#include <map>
#include <mutex>
#include <optional>
#include <shared_mutex>

#include <thrum/thrum.hpp>

namespace {

using namespace std::chrono_literals;

template <class Mutex>
struct counter {
  Mutex m;
  int n THRUM_GUARDED_BY(m) = 0;
  int* more THRUM_PT_GUARDED_BY(m) = nullptr;

  void guard() {
    thrum::lock_guard hold(m);
    ++n;
    if (more) ++*more;
  }
  void plain() {
    m.lock();
    ++n;
    m.unlock();
  }
  void attempt() {
    if (!m.try_lock()) return;
    ++n;
    m.unlock();
  }
  void adopt() {
    m.lock();
    thrum::lock_guard hold(m, std::adopt_lock);
    ++n;
  }
  void unlock_before() {
    thrum::unique_lock hold(m);
    ++n;
    hold.unlock();
    hold.lock();
    ++n;
  }
  void defer() {
    thrum::unique_lock hold(m, std::defer_lock);
    if (hold.try_lock()) ++n;
  }
  void needs_it() THRUM_REQUIRES(m) { ++n; }
  void calls() {
    thrum::lock_guard hold(m);
    needs_it();
  }
};
template struct counter<thrum::mutex>;
template struct counter<thrum::timed_mutex>;
template struct counter<thrum::recursive_mutex>;
template struct counter<thrum::shared_mutex>;

struct timed {
  thrum::timed_mutex m;
  int n THRUM_GUARDED_BY(m) = 0;

  void limited() {
    if (!m.try_lock_for(1ms)) return;
    ++n;
    m.unlock();
    if (!m.try_lock_until(std::chrono::steady_clock::now())) return;
    ++n;
    m.unlock();
  }
};

struct shared {
  thrum::shared_mutex m;
  int n THRUM_GUARDED_BY(m) = 0;

  int read() {
    thrum::shared_lock hold(m);
    return n;
  }
  int read_plainly() {
    m.lock_shared();
    const int seen = n;
    m.unlock_shared();
    if (!m.try_lock_shared()) return seen;
    const int again = n;
    m.unlock_shared();
    return again;
  }
  int needs_it() THRUM_REQUIRES_SHARED(m) { return n; }
  int calls() {
    thrum::shared_lock hold(m);
    return needs_it();
  }
};

struct waits {
  thrum::mutex m;
  thrum::condition_variable changed;
  thrum::condition_variable_any changed_for_any;
  bool ready THRUM_GUARDED_BY(m) = false;

  void loop() {
    thrum::unique_lock hold(m);
    while (!ready) changed.wait(hold);
    while (!ready) changed_for_any.wait(hold);
  }
  void predicate() {
    thrum::unique_lock hold(m);
    const auto is_ready = [&]() THRUM_REQUIRES(m) { return ready; };
    changed.wait(hold, is_ready);
    ready = changed.wait_for(hold, 1ms, is_ready);
    changed_for_any.wait(hold, is_ready);
    ready = changed_for_any.wait_for(hold, 1ms, is_ready);
  }
};

[[maybe_unused]] void guarded_data(thrum::guarded<std::map<int, int>>& table,
                                   thrum::guarded<int, thrum::shared_mutex>& n) {
  table.lock()->emplace(1, 2);
  table.lock()->emplace(2, 3);
  for (int i = 0; i < 3; ++i) {
    auto t = table.lock();
    if (t->empty()) continue;
    t->clear();
  }
  table.with([](auto& t) { t.clear(); });
  {
    table.wait([](const auto& t) { return !t.empty(); })->clear();
  }
  if (auto found = table.wait_for(1ms, [](const auto& t) { return !t.empty(); })) (*found)->clear();
  const int seen = *n.read();
  *n.lock() = seen + *table.with([](auto&) { return std::optional(1); });
}

// The locks of std are right too, only unseen.
[[maybe_unused]] void of_std(thrum::mutex& a, thrum::mutex& b, thrum::shared_mutex& c) {
  const std::scoped_lock both(a, b);
  const std::shared_lock reading(c);
}

// A lock that goes elsewhere is out of the analysis's sight: it has to be told so.
[[maybe_unused]] void handed_on(thrum::guarded<int>& n) THRUM_NO_THREAD_SAFETY_ANALYSIS {
  auto first = n.lock();
  auto second = std::move(first);
  ++*second;
}

}  // namespace
