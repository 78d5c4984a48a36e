// The functions that lock and unlock, in the place of the C library's, which do the work.
//
// Waiting for a condition unlocks and locks again inside the C library, on one thread: nobody notices, and nothing has
// to be noticed. With sanitizers, which interpose the same functions, this is not built.
#include <atomic>
#include <cerrno>

#include <dlfcn.h>
#include <pthread.h>
#include <time.h>

#include "lock_check/held_locks.hpp"
#include "sched/diagnose.hpp"

namespace thrum::lock_check {
namespace {

constinit held_locks all_held;

// At every switch, in builds with assertions.
[[maybe_unused]] const bool installed = [] {
  sched::at_suspension.store([](const sched::activity& a, bool ends) noexcept { all_held.suspends(a, ends); });
  return true;
}();

// The next definition of a function of the C library, looked up once; before main too.
template <class Function>
class next_definition {
 public:
  explicit constexpr next_definition(const char* name) noexcept : name_(name) {}
  template <class... Arguments>
  int operator()(Arguments... arguments) noexcept {
    auto* f = found_.load(std::memory_order_acquire);
    if (!f) {
      f = reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name_));
      found_.store(f, std::memory_order_release);
    }
    return f(arguments...);
  }

 private:
  const char* const name_;
  std::atomic<Function*> found_{nullptr};
};

template <class Next, class Lock, class... Arguments>
int lock_checked(Next& next, Lock* lock, Arguments... arguments) noexcept {
  all_held.about_to_lock(lock);
  const int result = next(lock, arguments...);
  if (result == 0 || result == EOWNERDEAD) all_held.has_locked(lock);
  return result;
}

template <class Next, class Lock>
int unlock_checked(Next& next, Lock* lock) noexcept {
  all_held.about_to_unlock(lock);
  return next(lock);
}

}  // namespace
}  // namespace thrum::lock_check

#define THRUM_CHECKED_LOCK(name, parameters, ...)                                    \
  extern "C" int name parameters noexcept {                                          \
    static constinit thrum::lock_check::next_definition<int parameters> next(#name); \
    return thrum::lock_check::lock_checked(next, __VA_ARGS__);                       \
  }
#define THRUM_CHECKED_UNLOCK(name, type)                                         \
  extern "C" int name(type* lock) noexcept {                                     \
    static constinit thrum::lock_check::next_definition<int(type*)> next(#name); \
    return thrum::lock_check::unlock_checked(next, lock);                        \
  }

THRUM_CHECKED_LOCK(pthread_mutex_lock, (pthread_mutex_t * lock), lock)
THRUM_CHECKED_LOCK(pthread_mutex_trylock, (pthread_mutex_t * lock), lock)
THRUM_CHECKED_LOCK(pthread_mutex_timedlock, (pthread_mutex_t * lock, const timespec* until), lock, until)
THRUM_CHECKED_LOCK(pthread_mutex_clocklock, (pthread_mutex_t * lock, clockid_t clock, const timespec* until), lock,
                   clock, until)
THRUM_CHECKED_UNLOCK(pthread_mutex_unlock, pthread_mutex_t)
THRUM_CHECKED_LOCK(pthread_rwlock_rdlock, (pthread_rwlock_t * lock), lock)
THRUM_CHECKED_LOCK(pthread_rwlock_tryrdlock, (pthread_rwlock_t * lock), lock)
THRUM_CHECKED_LOCK(pthread_rwlock_timedrdlock, (pthread_rwlock_t * lock, const timespec* until), lock, until)
THRUM_CHECKED_LOCK(pthread_rwlock_clockrdlock, (pthread_rwlock_t * lock, clockid_t clock, const timespec* until), lock,
                   clock, until)
THRUM_CHECKED_LOCK(pthread_rwlock_wrlock, (pthread_rwlock_t * lock), lock)
THRUM_CHECKED_LOCK(pthread_rwlock_trywrlock, (pthread_rwlock_t * lock), lock)
THRUM_CHECKED_LOCK(pthread_rwlock_timedwrlock, (pthread_rwlock_t * lock, const timespec* until), lock, until)
THRUM_CHECKED_LOCK(pthread_rwlock_clockwrlock, (pthread_rwlock_t * lock, clockid_t clock, const timespec* until), lock,
                   clock, until)
THRUM_CHECKED_UNLOCK(pthread_rwlock_unlock, pthread_rwlock_t)

// The linker is asked for this one, and finds the others beside it.
extern "C" const int thrum_lock_check_is_linked;
const int thrum_lock_check_is_linked = 1;
