// The depot behind the processors' lists.
#include "sched/frame_pool.hpp"

#include <atomic>
#include <cstdint>
#include <mutex>
#include <new>
#include <vector>

#include <thrum/detail/spinlock.hpp>

#include "context/sanitizer.hpp"
#include "os/memory.hpp"
#include "sched/processor.hpp"
#include "sched/scheduler.hpp"
#include "sched/worker.hpp"

namespace thrum::sched {
namespace {

constexpr std::size_t chunk_size = std::size_t{64} << 10;
constexpr std::size_t arena_size = 64 * chunk_size;
constexpr std::size_t warm_chunks_max = 64;

struct depot_frame {
  depot_frame* next;
};

// Stands at the start of its chunk. Guarded by its size's lock.
struct alignas(64) frame_chunk {
  frame_chunk* previous = nullptr;  // Among those of its size that have a free frame.
  frame_chunk* next = nullptr;
  depot_frame* free = nullptr;
  std::size_t used = 0;
  char* untouched = nullptr;  // From here on nothing has been given out yet.
  bool listed = false;
};

frame_chunk& chunk_of(void* frame) noexcept {
  return *reinterpret_cast<frame_chunk*>(reinterpret_cast<std::uintptr_t>(frame) & ~(chunk_size - 1));
}

// Chunks that are nobody's: process-wide and never destroyed, as frames may be freed at the very end.
class chunk_source {
 public:
  void* take() {
    std::lock_guard held(lock_);
    if (free_.empty()) grow();
    void* c = free_.back();
    free_.pop_back();
    if (warm_ > 0) --warm_;
    held_.fetch_add(chunk_size, std::memory_order_relaxed);
    return c;
  }
  void give_back(void* c) noexcept {
    held_.fetch_sub(chunk_size, std::memory_order_relaxed);
    std::lock_guard held(lock_);
    free_.push_back(c);  // Never allocates: grow() has reserved room for all chunks.
    if (warm_ < warm_chunks_max)
      ++warm_;
    else
      os::discard(c, chunk_size);
  }
  std::size_t held() const noexcept { return held_.load(std::memory_order_relaxed); }

 private:
  void grow() {
    free_.reserve(total_ + arena_size / chunk_size);
    auto* arena = static_cast<char*>(os::reserve(arena_size + chunk_size));
    if (!arena) throw std::bad_alloc();
    const auto misplaced = reinterpret_cast<std::uintptr_t>(arena) % chunk_size;
    if (misplaced != 0) arena += chunk_size - misplaced;
    for (std::size_t at = arena_size; at > 0; at -= chunk_size) free_.push_back(arena + at - chunk_size);
    total_ += arena_size / chunk_size;
    warm_ = 0;
  }

  detail::spinlock lock_;
  std::vector<void*> free_;  // Guarded by lock_, as are the counts.
  std::size_t warm_ = 0;     // About so many of them still have their pages.
  std::size_t total_ = 0;
  std::atomic<std::size_t> held_{0};
};

chunk_source& chunks() noexcept {
  static auto* all = new chunk_source;
  return *all;
}

// The frames of one size.
class alignas(64) depot {
 public:
  void* take(std::size_t size) {
    for (;;) {
      {
        std::lock_guard held(lock_);
        if (available_) return take_from(*available_, size);
      }
      auto* fresh = new (chunks().take()) frame_chunk;  // Not under the lock: it may map memory.
      fresh->untouched = reinterpret_cast<char*>(fresh) + sizeof(frame_chunk);
      std::lock_guard held(lock_);
      list(*fresh);
    }
  }
  void give_back(void* frame, std::size_t) noexcept {
    frame_chunk& c = chunk_of(frame);
    bool empty;
    {
      std::lock_guard held(lock_);
      auto* f = static_cast<depot_frame*>(frame);
      f->next = c.free;
      c.free = f;
      if (!c.listed) list(c);
      empty = --c.used == 0;
      if (empty) unlist(c);
    }
    if (empty) chunks().give_back(&c);
  }

 private:
  void* take_from(frame_chunk& c, std::size_t size) noexcept {
    void* frame = c.free;
    if (frame) {
      c.free = c.free->next;
    } else {
      frame = c.untouched;
      c.untouched += size;
    }
    ++c.used;
    if (!c.free && c.untouched + size > reinterpret_cast<char*>(&c) + chunk_size) unlist(c);
    return frame;
  }
  void list(frame_chunk& c) noexcept {
    c.listed = true;
    c.previous = nullptr;
    c.next = available_;
    if (available_) available_->previous = &c;
    available_ = &c;
  }
  void unlist(frame_chunk& c) noexcept {
    c.listed = false;
    (c.previous ? c.previous->next : available_) = c.next;
    if (c.next) c.next->previous = c.previous;
  }

  detail::spinlock lock_;
  frame_chunk* available_ = nullptr;  // Guarded by lock_.
};

depot& depot_of(std::size_t index) noexcept {
  static auto* all = new depot[frame_cache::sizes];
  return all[index];
}

constexpr std::size_t size_of(std::size_t index) noexcept { return (index + 1) * frame_cache::granule; }
constexpr std::size_t index_of(std::size_t size) noexcept { return (size - 1) / frame_cache::granule; }

#if defined(THRUM_ASAN)
constexpr bool pooled = false;  // So that a use after the end is found.
#else
constexpr bool pooled = true;
#endif

}  // namespace

frame_cache::~frame_cache() {
  for (std::size_t i = 0; i < sizes; ++i) drain(i, lists_[i].count);
}

[[gnu::noinline]] void frame_cache::refill(std::size_t index) {
  list& l = lists_[index];
  const auto some = cached_granules_max / (index + 1) / 4;
  for (std::size_t i = 0; i < some; ++i) {
    auto* f = static_cast<free_frame*>(depot_of(index).take(size_of(index)));
    f->next = l.first;
    l.first = f;
    ++l.count;
  }
}

[[gnu::noinline]] void frame_cache::drain(std::size_t index, std::size_t count) noexcept {
  list& l = lists_[index];
  for (; count > 0; --count) {
    auto* f = l.first;
    l.first = f->next;
    --l.count;
    depot_of(index).give_back(f, size_of(index));
  }
}

void* allocate_frame(std::size_t size) {
  if (!pooled || size > frame_cache::size_max) return ::operator new(size);
  runtime_section inside;
  if (inside.w && inside.w->p) [[likely]]
    return inside.w->p->frames.allocate(index_of(size));
  return depot_of(index_of(size)).take(size_of(index_of(size)));
}

void free_frame(void* frame, std::size_t size) noexcept {
  if (!pooled || size > frame_cache::size_max) return ::operator delete(frame);
  runtime_section inside;
  if (inside.w && inside.w->p) [[likely]]
    return inside.w->p->frames.free(frame, index_of(size));
  depot_of(index_of(size)).give_back(frame, size_of(index_of(size)));
}

std::size_t frame_bytes_held() noexcept { return chunks().held(); }

}  // namespace thrum::sched
