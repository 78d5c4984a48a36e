// Places of code, and descriptors on their way.
#include "process/pool_frame.hpp"

#include <array>
#include <cerrno>
#include <cstring>

#include <link.h>
#include <sys/socket.h>

namespace thrum::detail {
namespace {

// What tells modules apart, and one version of a library from another.
std::uint64_t fingerprint(const dl_phdr_info& m) noexcept {
  if (m.dlpi_name == nullptr || m.dlpi_name[0] == '\0') return 0;
  std::uint64_t h = 14695981039346656037ull;  // FNV-1a.
  const auto mix = [&h](const void* bytes, std::size_t size) {
    for (std::size_t i = 0; i < size; ++i) h = (h ^ static_cast<const unsigned char*>(bytes)[i]) * 1099511628211ull;
  };
  mix(m.dlpi_name, std::strlen(m.dlpi_name));
  mix(m.dlpi_phdr, m.dlpi_phnum * sizeof *m.dlpi_phdr);
  return h | 1;
}

bool holds_code(const dl_phdr_info& m, std::uint64_t offset) noexcept {
  for (int i = 0; i < m.dlpi_phnum; ++i) {
    const auto& part = m.dlpi_phdr[i];
    const bool code = part.p_type == PT_LOAD && (part.p_flags & PF_X) != 0;
    if (code && offset >= part.p_vaddr && offset - part.p_vaddr < part.p_memsz) return true;
  }
  return false;
}

// Calls f(module) until it returns true.
template <class F>
bool any_module(F f) noexcept {
  return ::dl_iterate_phdr(
             [](dl_phdr_info* m, std::size_t, void* context) { return (*static_cast<F*>(context))(*m) ? 1 : 0; }, &f) !=
         0;
}

// The program is the first module, and stays where it is.
const dl_phdr_info& program() noexcept {
  static const dl_phdr_info first = [] {
    dl_phdr_info found{};
    any_module([&](const dl_phdr_info& m) {
      found = m;
      return true;
    });
    return found;
  }();
  return first;
}

struct descriptor_message {
  explicit descriptor_message(std::size_t count) noexcept {
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(count * sizeof(int));
  }
  descriptor_message(const descriptor_message&) = delete;
  descriptor_message& operator=(const descriptor_message&) = delete;

  alignas(cmsghdr) std::array<char, CMSG_SPACE(descriptors_max * sizeof(int))> control{};
  char byte = 0;
  iovec part{&byte, 1};
  msghdr message{};
};

}  // namespace

bool locate_code(const void* code, code_place& place) noexcept {
  const auto address = reinterpret_cast<std::uint64_t>(code);
  const auto& main = program();
  if (holds_code(main, address - main.dlpi_addr)) {
    place = {0, address - main.dlpi_addr};
    return true;
  }
  return any_module([&](const dl_phdr_info& m) {
    const auto offset = address - m.dlpi_addr;
    if (!holds_code(m, offset)) return false;
    place = {fingerprint(m), offset};
    return true;
  });
}

void* code_at(const code_place& place) noexcept {
  void* found = nullptr;
  any_module([&](const dl_phdr_info& m) {
    if (fingerprint(m) != place.module) return false;
    if (holds_code(m, place.offset)) found = reinterpret_cast<void*>(m.dlpi_addr + place.offset);
    return true;
  });
  return found;
}

bool send_descriptors(int socket, std::vector<net::descriptor>& all) noexcept {
  if (all.size() > descriptors_max) {
    errno = EMSGSIZE;
    return false;
  }
  descriptor_message d(all.size());
  cmsghdr* c = CMSG_FIRSTHDR(&d.message);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(all.size() * sizeof(int));
  for (std::size_t i = 0; i < all.size(); ++i) {
    const int fd = all[i].native_handle();
    std::memcpy(CMSG_DATA(c) + i * sizeof fd, &fd, sizeof fd);
  }
  long n;
  do {
    n = ::sendmsg(socket, &d.message, MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (n < 0 && errno == EINTR);
  return n == 1;
}

bool receive_descriptors(int socket, std::size_t count, std::vector<net::descriptor>& into) {
  into.reserve(count);
  descriptor_message d(descriptors_max);
  long n;
  do {
    n = ::recvmsg(socket, &d.message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  } while (n < 0 && errno == EINTR);
  if (n != 1) return false;
  for (cmsghdr* c = CMSG_FIRSTHDR(&d.message); c != nullptr; c = CMSG_NXTHDR(&d.message, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    for (std::size_t at = 0; at + sizeof(int) <= c->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(c) + at, sizeof fd);
      into.emplace_back(fd);
    }
  }
  return into.size() == count && (d.message.msg_flags & MSG_CTRUNC) == 0;
}

}  // namespace thrum::detail
