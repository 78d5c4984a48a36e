// Keeping the table, and what is said at the end.
#include "lock_check/held_locks.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <mutex>

#include <unwind.h>

#include "base/assert.hpp"
#include "context/unwind.hpp"
#include "os/report.hpp"
#include "sched/diagnose.hpp"
#include "sched/worker.hpp"

namespace thrum::lock_check {
namespace {

struct place {
  void** frames;
  std::size_t most;
  std::size_t count = 0;
};

_Unwind_Reason_Code note_frame(_Unwind_Context* frame, void* argument) {
  auto& p = *static_cast<place*>(argument);
  const auto ip = _Unwind_GetIP(frame);
  if (ip == 0 || p.count == p.most) return _URC_END_OF_STACK;
  p.frames[p.count++] = reinterpret_cast<void*>(ip);
  return _URC_NO_REASON;
}

bool is_pinned(const sched::activity& a) noexcept {
  return a.is_fiber() && static_cast<const sched::fiber_control&>(a).is_pinned();
}

// Of the lock's own machinery; the first frame beyond tells where the user has locked.
bool is_machinery(const char* name) noexcept {
  for (const char* start : {"pthread_", "std::", "void std::", "__gthread"})
    if (std::strncmp(name, start, std::strlen(start)) == 0) return true;
  return std::strstr(name, "lock_check::(anonymous namespace)") || std::strstr(name, "lock_check::held_locks");
}

}  // namespace

held_locks::entry* held_locks::shard::find(const void* lock, const sched::activity* by) noexcept {
  const auto end = entries + used;
  const auto it = std::find_if(entries, end, [&](const entry& e) { return e.lock == lock && (!by || e.by == by); });
  return it == end ? nullptr : it;
}

held_locks::shard& held_locks::shard_of(const void* lock) noexcept {
  return shards_[reinterpret_cast<std::uintptr_t>(lock) / 16 % shard_count];
}

void held_locks::remember_place(entry& e) noexcept {
  place p{e.frames, frames_max};
  _Unwind_Backtrace(&note_frame, &p);
  e.frame_count = p.count;
}

void held_locks::about_to_lock(const void* lock) noexcept {
  const auto* self = sched::current_activity();
  if (!self) return;
  shard& s = shard_of(lock);
  std::lock_guard held(s.guard);
  const entry* e = s.find(lock, nullptr);
  if (!e || e->by == self) return;
  if (e->on == sched::this_worker()) accuse(*e, "wants a lock of this thread that another, suspended here, holds");
}

void held_locks::has_locked(const void* lock) noexcept {
  const auto* self = sched::current_activity();
  if (!self) return;
  entry made{.lock = lock, .by = self, .on = sched::this_worker(), .times = 1, .frame_count = 0, .frames = {}};
  remember_place(made);
  shard& s = shard_of(lock);
  std::lock_guard held(s.guard);
  if (entry* e = s.find(lock, self)) {
    if (e->on != made.on) accuse(*e, "has been moved to another thread while it holds a lock of the one before");
    ++e->times;
  } else if (s.used < shard::room) {
    s.entries[s.used++] = made;
  }
}

void held_locks::about_to_unlock(const void* lock) noexcept {
  const auto* self = sched::current_activity();
  if (!self) return;
  shard& s = shard_of(lock);
  std::lock_guard held(s.guard);
  entry* e = s.find(lock, self);
  if (!e) return;
  if (e->on != sched::this_worker())
    accuse(*e, "has been moved to another thread while it holds a lock of the one before");
  if (--e->times == 0) s.remove(*e);
}

void held_locks::suspends(const sched::activity& who, bool ends) noexcept {
  if (!ends && is_pinned(who)) return;
  for (auto& s : shards_) {
    std::lock_guard held(s.guard);
    for (std::size_t i = 0; i < s.used; ++i)
      if (s.entries[i].by == &who)
        accuse(s.entries[i], ends ? "ends and leaves a lock of its thread locked"
                                  : "suspends without a pin while it holds a lock of its thread");
  }
}

// What follows, by the hook of panics, is who runs here and its stack.
void held_locks::accuse(const entry& e, const char* of_what) noexcept {
  char name[256] = "?";
  std::size_t first = 0;
  while (first + 1 < e.frame_count && context::name_of(e.frames[first], name) && is_machinery(name)) ++first;
  os::report("the lock %p has been locked in %s by ", e.lock, name);
  sched::describe(*e.by, sched::labels::left_out);
  os::report("\n");
  context::trace t;
  for (; first < e.frame_count; ++first) t.frames[t.count++] = e.frames[first];
  context::print(t);
  base::panicf("a fiber or task %s (%p, locked in %s)", of_what, e.lock, name);
}

}  // namespace thrum::lock_check
