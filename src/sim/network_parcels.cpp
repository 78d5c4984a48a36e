// Descriptors under way through Unix sockets (SCM_RIGHTS): of the network, of the disks, and the kernel's.
#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>

#include "sim/disks.hpp"
#include "sim/network.hpp"

namespace thrum::sim {

// A duplicate, which nobody else knows.
class network::passed_descriptor {
 public:
  passed_descriptor(network& home, int fd) noexcept : home_(home), fd_(fd) {}
  passed_descriptor(const passed_descriptor&) = delete;
  passed_descriptor& operator=(const passed_descriptor&) = delete;
  ~passed_descriptor() {
    if (fd_ >= 0) home_.close(fd_);
  }
  int release() noexcept { return std::exchange(fd_, -1); }

 private:
  network& home_;
  int fd_;
};

int network::duplicate(int fd) noexcept {
  if (is_files(fd)) return disks_.duplicate(fd);
  if (auto* e = of(fd)) return describe(*e, next_number_++);
  return ::fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

// One descriptor is all that thrum sends in a message.
long network::send_parcel(endpoint& e, const msghdr& m) noexcept {
  int fd;
  std::memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof fd);
  const int copy = duplicate(fd);
  if (copy < 0) return -1;
  auto carried = std::make_shared<passed_descriptor>(*this, copy);
  return give(e, {static_cast<const std::byte*>(m.msg_iov->iov_base), m.msg_iov->iov_len}, std::move(carried));
}

long network::receive_parcel(endpoint& e, msghdr& m, std::size_t room) noexcept {
  parcel carried;
  const long n = take(e, {static_cast<std::byte*>(m.msg_iov->iov_base), m.msg_iov->iov_len}, false, carried);
  if (!carried) return n;
  const int fd = carried->release();
  m.msg_controllen = room;
  auto* c = CMSG_FIRSTHDR(&m);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(sizeof fd);
  std::memcpy(CMSG_DATA(c), &fd, sizeof fd);
  return n;
}

}  // namespace thrum::sim
