// Linux implementation of os/memory.hpp.
#include "os/memory.hpp"

#include <algorithm>
#include <array>
#include <cstdio>

#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22  // Linux 5.14.
#endif
#ifndef PIDFD_SELF_PROCESS
#define PIDFD_SELF_PROCESS (-10001)  // Linux 6.14: names the calling process without a descriptor.
#endif

namespace thrum::os {
namespace {

// A thousand guards with one call; false where the kernel does not allow it (process_madvise on oneself: 6.13).
bool install_by_vector(char* base, std::size_t stride, std::size_t count) noexcept {
  std::array<iovec, 512> pages;
  for (std::size_t done = 0; done < count;) {
    const auto batch = std::min(count - done, pages.size());
    for (std::size_t i = 0; i < batch; ++i) pages[i] = {base + (done + i) * stride, page_size};
    const auto n = ::syscall(SYS_process_madvise, PIDFD_SELF_PROCESS, pages.data(), batch, MADV_GUARD_INSTALL, 0);
    if (n != static_cast<long>(batch * page_size)) return false;
    done += batch;
  }
  return true;
}

bool install_one_by_one(char* base, std::size_t stride, std::size_t count) noexcept {
  for (std::size_t i = 0; i < count; ++i)
    if (::madvise(base + i * stride, page_size, MADV_GUARD_INSTALL) != 0) return false;
  return true;
}

// Does a guard guard? Emulators (qemu-user) take advice that they do not know, and do nothing.
bool guards_take_effect() noexcept {
  void* page = reserve(page_size);
  if (page == nullptr) return false;
  const bool effect =
      install_one_by_one(static_cast<char*>(page), page_size, 1) && ::madvise(page, page_size, MADV_POPULATE_READ) != 0;
  release(page, page_size);
  return effect;
}

}  // namespace

void* reserve(std::size_t size) noexcept {
  void* p = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) return nullptr;
  ::madvise(p, size, MADV_NOHUGEPAGE);  // A huge page would make every stack cost 2 MiB.
  return p;
}

void* reserve_shared(std::size_t size) noexcept {
  void* p = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return p == MAP_FAILED ? nullptr : p;
}

void release(void* address, std::size_t size) noexcept { ::munmap(address, size); }
void discard(void* address, std::size_t size) noexcept { ::madvise(address, size, MADV_DONTNEED); }

bool install_guards(void* base, std::size_t stride, std::size_t count) noexcept {
  static const bool possible = guards_take_effect();
  if (!possible) return false;
  auto* first = static_cast<char*>(base);
  return install_by_vector(first, stride, count) || install_one_by_one(first, stride, count);
}

bool protect_page(void* address) noexcept { return ::mprotect(address, page_size, PROT_NONE) == 0; }

std::size_t max_map_count() noexcept {
  std::size_t value = 65'530;
  if (FILE* file = std::fopen("/proc/sys/vm/max_map_count", "re")) {
    if (std::fscanf(file, "%zu", &value) != 1) value = 65'530;
    std::fclose(file);
  }
  return value;
}

}  // namespace thrum::os
