// The answers to the calls that sim_escapes.hpp defines: virtual time, the end of a program that escapes, or what the
// next definition of the name does.
//
// Calls may come before any constructor has run, from any thread, and from within what finds the next definition (an
// allocator that reads a clock): while one is looked for, clocks are read by bare system calls.
#include <thrum/detail/sim_calls.hpp>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <ctime>

#include <dlfcn.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/assert.hpp"
#include "sched/scheduler.hpp"
#include "sim/world.hpp"

namespace thrum::detail::sim_calls {
namespace {

constexpr std::int64_t second_ns = 1'000'000'000;
constexpr std::int64_t year_2000_ns = 946'684'800 * second_ns;  // Since the epoch of CLOCK_REALTIME.

// Whose program makes the call; null when none does: another thread, thrum itself, or what is outside by intention.
sim::world* world_of_the_caller() noexcept {
  auto* w = sched::this_worker();
  if (!w || w->in_runtime()) return nullptr;
  auto* world = static_cast<sim::world*>(w->home.host());  // There is no other host.
  return world && world->program_is_inside() ? world : nullptr;
}

void look_for_escape(const char* function, const char* advice) noexcept {
  if (auto* world = world_of_the_caller()) world->escaped(function, advice);
}

// Of a timespec or a timeval.
bool may_wait(const void* time) noexcept {
  const auto* const parts = static_cast<const long*>(time);
  return !parts || parts[0] != 0 || parts[1] != 0;
}

std::atomic<int> lookups{0};  // Under way.

// A sanitizer has its own definition under a second name, since ours is the one of the first.
void* find_next_definition(const char* name) noexcept {
  const int saved = errno;
  lookups.fetch_add(1, std::memory_order_relaxed);
  char own_name[64];
  std::snprintf(own_name, sizeof own_name, "__interceptor_%s", name);
  void* found = ::dlsym(RTLD_DEFAULT, own_name);
  if (!found) found = ::dlsym(RTLD_NEXT, name);
  lookups.fetch_sub(1, std::memory_order_relaxed);
  errno = saved;
  return found;
}

template <class F>
class next_call {
 public:
  explicit constexpr next_call(const char* name, F* bare = nullptr) noexcept : name_(name), bare_(bare) {}

  template <class... Arguments>
  auto operator()(Arguments... arguments) {
    return find()(arguments...);
  }

 private:
  F* find() noexcept {
    auto* f = found_.load(std::memory_order_relaxed);
    if (f) return f;
    if (bare_ && lookups.load(std::memory_order_relaxed) > 0) return bare_;
    f = reinterpret_cast<F*>(find_next_definition(name_));
    if (!f) f = bare_;
    if (!f) base::panic("sim_escapes.hpp: a function of the C library has no other definition");
    found_.store(f, std::memory_order_relaxed);  // The same value, whoever stores it.
    return f;
  }

  const char* const name_;
  F* const bare_;  // Makes the system call itself.
  std::atomic<F*> found_{nullptr};
};

int bare_clock_gettime(int clock, void* time) { return static_cast<int>(::syscall(SYS_clock_gettime, clock, time)); }
int bare_gettimeofday(void* time, void* timezone) {
  return static_cast<int>(::syscall(SYS_gettimeofday, time, timezone));
}
long bare_time(long* seconds) {
  timespec now{};
  bare_clock_gettime(CLOCK_REALTIME, &now);
  if (seconds) *seconds = now.tv_sec;
  return now.tv_sec;
}

constinit next_call<int(int, void*)> next_clock_gettime("clock_gettime", &bare_clock_gettime);
constinit next_call<int(void*, void*)> next_gettimeofday("gettimeofday", &bare_gettimeofday);
constinit next_call<int(void*, int)> next_timespec_get("timespec_get");
constinit next_call<long(long*)> next_time("time", &bare_time);
constinit next_call<unsigned(void*)> next_random_device("_ZNSt13random_device9_M_getvalEv");

std::int64_t virtual_time(sim::world& world) noexcept {
  touch(&the_clock);
  return world.now_ns();
}
std::int64_t wall_clock_ns(sim::world& world) noexcept { return year_2000_ns + virtual_time(world); }

// What the clock shows in a simulation. False: it is a real one there too.
bool shows_virtual_time(int clock, sim::world& world, std::int64_t& ns) noexcept {
  switch (clock) {
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_BOOTTIME:
      ns = virtual_time(world);
      return true;
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
    case CLOCK_TAI:
      ns = wall_clock_ns(world);
      return true;
    default:
      return false;
  }
}

timespec as_timespec(std::int64_t ns) noexcept { return {.tv_sec = ns / second_ns, .tv_nsec = ns % second_ns}; }

}  // namespace

int clock_gettime(int clock, void* time) {
  auto* world = world_of_the_caller();
  std::int64_t ns = 0;
  if (!world || !shows_virtual_time(clock, *world, ns)) return next_clock_gettime(clock, time);
  *static_cast<timespec*>(time) = as_timespec(ns);
  return 0;
}

int gettimeofday(void* time, void* timezone) {
  auto* world = world_of_the_caller();
  if (!world || !time) return next_gettimeofday(time, timezone);
  const auto now = as_timespec(wall_clock_ns(*world));
  *static_cast<timeval*>(time) = {.tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000};
  return 0;
}

int timespec_get(void* time, int base) {
  auto* world = world_of_the_caller();
  if (!world || base != TIME_UTC) return next_timespec_get(time, base);
  *static_cast<timespec*>(time) = as_timespec(wall_clock_ns(*world));
  return base;
}

long time(long* seconds) {
  auto* world = world_of_the_caller();
  if (!world) return next_time(seconds);
  const auto now = wall_clock_ns(*world) / second_ns;
  if (seconds) *seconds = now;
  return now;
}

unsigned random_device_value(void* device) {
  look_for_escape("std::random_device", THRUM_SIM_RANDOM_ADVICE);
  return next_random_device(device);
}

#define THRUM_SIM_ANSWER(result, name, parameters, arguments, escapes, advice) \
  result name parameters {                                                     \
    static constinit next_call<result parameters> next(#name);                 \
    if (escapes) look_for_escape(#name, advice);                               \
    return next arguments;                                                     \
  }
THRUM_SIM_NAMED_CALLS(THRUM_SIM_ANSWER)
#undef THRUM_SIM_ANSWER

}  // namespace thrum::detail::sim_calls
