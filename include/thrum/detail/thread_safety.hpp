// Clang's thread safety annotations (-Wthread-safety); nothing under other compilers.
//
// They say which calls take and give back which lock, so that Clang can prove that data marked with THRUM_GUARDED_BY(m)
// is only touched under m, and that every lock is given back. The names are those of Clang's documentation.
#pragma once

#if defined(__clang__)
#define THRUM_THREAD_ANNOTATION(x) __attribute__((x))
#else
#define THRUM_THREAD_ANNOTATION(x)
#endif

// On types.
#define THRUM_CAPABILITY(kind) THRUM_THREAD_ANNOTATION(capability(kind))
#define THRUM_SCOPED_CAPABILITY THRUM_THREAD_ANNOTATION(scoped_lockable)

// On data: itself, or what it points to.
#define THRUM_GUARDED_BY(m) THRUM_THREAD_ANNOTATION(guarded_by(m))
#define THRUM_PT_GUARDED_BY(m) THRUM_THREAD_ANNOTATION(pt_guarded_by(m))

// On functions: without arguments of the object itself.
#define THRUM_ACQUIRE(...) THRUM_THREAD_ANNOTATION(acquire_capability(__VA_ARGS__))
#define THRUM_ACQUIRE_SHARED(...) THRUM_THREAD_ANNOTATION(acquire_shared_capability(__VA_ARGS__))
#define THRUM_TRY_ACQUIRE(...) THRUM_THREAD_ANNOTATION(try_acquire_capability(__VA_ARGS__))
#define THRUM_TRY_ACQUIRE_SHARED(...) THRUM_THREAD_ANNOTATION(try_acquire_shared_capability(__VA_ARGS__))
#define THRUM_RELEASE(...) THRUM_THREAD_ANNOTATION(release_capability(__VA_ARGS__))
#define THRUM_RELEASE_SHARED(...) THRUM_THREAD_ANNOTATION(release_shared_capability(__VA_ARGS__))
#define THRUM_RELEASE_GENERIC(...) THRUM_THREAD_ANNOTATION(release_generic_capability(__VA_ARGS__))
#define THRUM_REQUIRES(...) THRUM_THREAD_ANNOTATION(requires_capability(__VA_ARGS__))
#define THRUM_REQUIRES_SHARED(...) THRUM_THREAD_ANNOTATION(requires_shared_capability(__VA_ARGS__))
#define THRUM_EXCLUDES(...) THRUM_THREAD_ANNOTATION(locks_excluded(__VA_ARGS__))
#define THRUM_RETURN_CAPABILITY(m) THRUM_THREAD_ANNOTATION(lock_returned(m))
#define THRUM_NO_THREAD_SAFETY_ANALYSIS THRUM_THREAD_ANNOTATION(no_thread_safety_analysis)
