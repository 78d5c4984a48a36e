// Which sanitizer the library is compiled with: THRUM_ASAN, THRUM_TSAN, or neither.
#pragma once

#if defined(__SANITIZE_ADDRESS__)
#define THRUM_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__)
#define THRUM_TSAN 1
#endif
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define THRUM_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define THRUM_TSAN 1
#endif
#endif
