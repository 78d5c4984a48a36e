// Memory for coroutine frames: small objects of many sizes, created and destroyed at the rate of function calls.
//
// Model. Sizes are rounded up to 16 bytes; what is larger than a kibibyte comes from operator new. Each processor keeps
// lists of free frames, a list for each size; behind them stands one depot for the whole process, with a lock for each
// size. The depot carves chunks of 64 KiB, each for one size; a chunk whose frames have all come back is given back to
// the system, apart from some that are kept warm. A chunk is aligned to its size, so that a frame finds it.
//
// A frame may be freed by another thread than the one that allocated it, also by one that is no worker.
#pragma once

#include <cstddef>

namespace thrum::sched {

// A processor's lists; the owner's, inside the runtime.
class frame_cache {
 public:
  static constexpr std::size_t granule = 16;
  static constexpr std::size_t size_max = 1024;
  static constexpr std::size_t sizes = size_max / granule;

  frame_cache() noexcept = default;
  ~frame_cache();
  frame_cache(const frame_cache&) = delete;
  frame_cache& operator=(const frame_cache&) = delete;

  // Size class `index`: (index + 1) * granule bytes. Throws std::bad_alloc.
  void* allocate(std::size_t index) {
    list& l = lists_[index];
    if (!l.first) [[unlikely]]
      refill(index);
    auto* f = l.first;
    l.first = f->next;
    --l.count;
    return f;
  }
  void free(void* frame, std::size_t index) noexcept {
    list& l = lists_[index];
    auto* f = static_cast<free_frame*>(frame);
    f->next = l.first;
    l.first = f;
    if (++l.count * (index + 1) > cached_granules_max) [[unlikely]]
      drain(index, l.count / 2);
  }

 private:
  struct free_frame {
    free_frame* next;
  };
  struct list {
    free_frame* first = nullptr;
    std::size_t count = 0;
  };
  static constexpr std::size_t cached_granules_max = (std::size_t{64} << 10) / granule;  // Of each size.

  void refill(std::size_t index);
  void drain(std::size_t index, std::size_t count) noexcept;

  list lists_[sizes];
};

// By any thread, outside the runtime.
void* allocate_frame(std::size_t size);
void free_frame(void* frame, std::size_t size) noexcept;

// Bytes in chunks that hold frames, in use or cached. For tests.
std::size_t frame_bytes_held() noexcept;

}  // namespace thrum::sched
