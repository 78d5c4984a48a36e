// Memory for frames: distinct, aligned, usable to the last byte, recycled, freed by anybody, and given back.
#include "sched/frame_pool.hpp"

#include <cstdint>
#include <cstring>
#include <set>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <thrum/runtime.hpp>

#include "context/sanitizer.hpp"

namespace thrum::sched {
namespace {

// On a plain thread and in a fiber, which has a processor's lists before it.
template <class F>
void everywhere(F f) {
  f();
  thrum::run({.workers = 1}, f);
}

TEST(frame_pool, gives_out_distinct_aligned_memory_of_every_size) {
  everywhere([] {
    std::vector<std::pair<unsigned char*, std::size_t>> all;
    std::set<void*> distinct;
    for (std::size_t size = 1; size <= 3000; size += 7) {
      auto* p = static_cast<unsigned char*>(allocate_frame(size));
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(p) % 16, 0u);
      std::memset(p, static_cast<int>(size % 251), size);
      all.emplace_back(p, size);
      distinct.insert(p);
    }
    EXPECT_EQ(distinct.size(), all.size());
    for (auto [p, size] : all) {
      for (std::size_t i = 0; i < size; ++i) ASSERT_EQ(p[i], size % 251);
      free_frame(p, size);
    }
  });
}

#if !defined(THRUM_ASAN)
TEST(frame_pool, recycles_the_newest_first) {
  thrum::run({.workers = 1}, [] {
    void* a = allocate_frame(100);
    void* b = allocate_frame(100);
    free_frame(a, 100);
    free_frame(b, 100);
    EXPECT_EQ(allocate_frame(97), b);  // Of the same class.
    EXPECT_EQ(allocate_frame(112), a);
    free_frame(a, 100);
    free_frame(b, 100);
  });
}

TEST(frame_pool, gives_chunks_back_once_they_are_empty) {
  const auto before = frame_bytes_held();
  std::vector<void*> all;
  for (int i = 0; i < 100'000; ++i) all.push_back(allocate_frame(200));
  EXPECT_GE(frame_bytes_held(), before + 100'000 * 200);
  for (void* p : all) free_frame(p, 200);
  EXPECT_EQ(frame_bytes_held(), before);
  thrum::run({.workers = 1}, [&] {
    for (auto& p : all) p = allocate_frame(200);
    for (void* p : all) free_frame(p, 200);
  });
  EXPECT_EQ(frame_bytes_held(), before);  // With the runtime its lists have gone.
}
#endif

TEST(frame_pool, frames_may_be_freed_by_another_thread) {
  for (int round = 0; round < 20; ++round) {
    std::vector<void*> given(2000);
    thrum::run({.workers = 2}, [&] {
      for (auto& p : given) p = allocate_frame(64);
    });
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < 4; ++t)
      threads.emplace_back([&, t] {
        for (std::size_t i = t; i < given.size(); i += 4) {
          free_frame(given[i], 64);
          given[i] = allocate_frame(64);
        }
      });
    for (auto& t : threads) t.join();
    EXPECT_EQ(std::set<void*>(given.begin(), given.end()).size(), given.size());
    for (void* p : given) free_frame(p, 64);
  }
}

}  // namespace
}  // namespace thrum::sched
