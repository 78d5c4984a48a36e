// Looking up hosts, as libc exports it: on threads of the offload pool. A name may take long, and libc's resolver asks
// by calls of its own that are not seen from outside. An address in figures needs nobody, and is told at once.
#include <cerrno>

#include <arpa/inet.h>
#include <netdb.h>

#include "interpose/fiber_call.hpp"

using namespace thrum::interpose;

namespace thrum::interpose {
namespace {

// lookup(), elsewhere, with what it leaves in the thread's errno and h_errno brought here. False: cancelled.
template <class Lookup>
bool look_up(Lookup lookup) noexcept {
  int error = 0;
  int host_error = 0;
  const bool made = offload_and_stay([&]() noexcept {
    errno = 0;
    lookup();
    error = errno;
    host_error = h_errno;
  });
  if (made) {
    if (error != 0) errno = error;
    h_errno = host_error;
  } else {
    errno = ECANCELED;
    h_errno = NETDB_INTERNAL;  // "See errno."
  }
  return made;
}

template <class Lookup>
hostent* host_by(Lookup lookup) noexcept {
  hostent* found = nullptr;
  look_up([&] { found = lookup(); });
  return found;
}

template <class Lookup>
int host_by(hostent** found, int* error, Lookup lookup) noexcept {
  int result = ECANCELED;
  if (look_up([&] { result = lookup(); })) return result;
  *found = nullptr;
  *error = NETDB_INTERNAL;
  return result;
}

template <class Lookup>
int information_by(Lookup lookup) noexcept {
  int result = EAI_SYSTEM;
  look_up([&] { result = lookup(); });
  return result;
}

// False: it has to be looked up, or is wrong.
bool told_by_figures(const char* host, const char* service, const addrinfo* hints, addrinfo** found) noexcept {
  addrinfo figures{};
  if (hints)
    figures = *hints;
  else
    figures.ai_flags = AI_V4MAPPED | AI_ADDRCONFIG;  // glibc's choice, which POSIX leaves to it.
  const int flags = figures.ai_flags;
  figures.ai_flags |= AI_NUMERICHOST | AI_NUMERICSERV;
  const int before = errno;
  const int result = real::getaddrinfo(host, service, &figures, found);
  errno = before;
  if (result != 0) return false;
  for (auto* a = *found; a; a = a->ai_next) a->ai_flags = flags;
  return true;
}

bool tells_figures(int flags) noexcept { return (flags & NI_NUMERICHOST) && (flags & NI_NUMERICSERV); }

bool is_in_figures(const char* name) noexcept {
  in6_addr ignored;
  return name &&
         (::inet_aton(name, reinterpret_cast<in_addr*>(&ignored)) || ::inet_pton(AF_INET6, name, &ignored) == 1);
}

}  // namespace
}  // namespace thrum::interpose

extern "C" {

extern const char thrum_interposed_names;  // See everything.cpp.
const char thrum_interposed_names = 0;

int getaddrinfo(const char* host, const char* service, const addrinfo* hints, addrinfo** found) {
  if (!calling_fiber()) [[likely]]
    return real::getaddrinfo(host, service, hints, found);
  if (told_by_figures(host, service, hints, found)) return 0;
  return information_by([&] { return real::getaddrinfo(host, service, hints, found); });
}

int getnameinfo(const sockaddr* address, socklen_t length, char* host, socklen_t host_room, char* service,
                socklen_t service_room, int flags) {
  if (!calling_fiber() || tells_figures(flags)) [[likely]]
    return real::getnameinfo(address, length, host, host_room, service, service_room, flags);
  return information_by(
      [&] { return real::getnameinfo(address, length, host, host_room, service, service_room, flags); });
}

hostent* gethostbyname(const char* name) {
  if (!calling_fiber() || is_in_figures(name)) [[likely]]
    return real::gethostbyname(name);
  return host_by([&] { return real::gethostbyname(name); });
}

hostent* gethostbyname2(const char* name, int family) {
  if (!calling_fiber() || is_in_figures(name)) [[likely]]
    return real::gethostbyname2(name, family);
  return host_by([&] { return real::gethostbyname2(name, family); });
}

hostent* gethostbyaddr(const void* address, socklen_t length, int family) {
  if (!calling_fiber()) [[likely]]
    return real::gethostbyaddr(address, length, family);
  return host_by([&] { return real::gethostbyaddr(address, length, family); });
}

int gethostbyname_r(const char* name, hostent* host, char* room, size_t size, hostent** found, int* error) {
  if (!calling_fiber() || is_in_figures(name)) [[likely]]
    return real::gethostbyname_r(name, host, room, size, found, error);
  return host_by(found, error, [&] { return real::gethostbyname_r(name, host, room, size, found, error); });
}

int gethostbyname2_r(const char* name, int family, hostent* host, char* room, size_t size, hostent** found,
                     int* error) {
  if (!calling_fiber() || is_in_figures(name)) [[likely]]
    return real::gethostbyname2_r(name, family, host, room, size, found, error);
  return host_by(found, error, [&] { return real::gethostbyname2_r(name, family, host, room, size, found, error); });
}

int gethostbyaddr_r(const void* address, socklen_t length, int family, hostent* host, char* room, size_t size,
                    hostent** found, int* error) {
  if (!calling_fiber()) [[likely]]
    return real::gethostbyaddr_r(address, length, family, host, room, size, found, error);
  return host_by(found, error,
                 [&] { return real::gethostbyaddr_r(address, length, family, host, room, size, found, error); });
}

}  // extern "C"
