// The system's calls on sockets and pipes, where they are not the kernel's: what a simulation brings. See seams.hpp.
#pragma once

#include <cstddef>
#include <span>

#include <sys/epoll.h>
#include <sys/socket.h>

namespace thrum::sched {

// Each as POSIX has it, for sockets that do not block: a negative value, and errno, tells of failure. Called by
// workers, inside and outside of the runtime.
class socket_system {
 public:
  virtual ~socket_system() = default;

  virtual int open(int family, int type) noexcept = 0;
  virtual int open_pair(int family, int type, int (&ends)[2]) noexcept = 0;
  virtual int open_pipe(int (&ends)[2]) noexcept = 0;
  virtual bool is_ready(int fd, bool to_write) noexcept = 0;  // As poll(2) tells it: or at its end, or none.
  // SO_LINGER is 1, for no time, or 0; IP_MULTICAST_IF is the interface's number.
  virtual int set_option(int fd, int level, int option, int value) noexcept = 0;
  virtual int get_option(int fd, int level, int option, int& value) noexcept = 0;
  // Of a network interface; 0, and errno, for none of that name.
  virtual unsigned interface_number(const char* name) noexcept = 0;
  // MCAST_JOIN_GROUP and MCAST_LEAVE_GROUP; the interface is 0 where the system is to choose.
  virtual int join_group(int fd, unsigned interface, const sockaddr* group, socklen_t length) noexcept = 0;
  virtual int leave_group(int fd, unsigned interface, const sockaddr* group, socklen_t length) noexcept = 0;
  virtual int bind(int fd, const sockaddr* address, socklen_t length) noexcept = 0;
  virtual int listen(int fd, int backlog) noexcept = 0;
  virtual int accept(int fd) noexcept = 0;
  virtual int connect(int fd, const sockaddr* address, socklen_t length) noexcept = 0;
  virtual long receive(int fd, std::span<std::byte> buffer, bool peek) noexcept = 0;
  virtual long send(int fd, std::span<const std::byte> data) noexcept = 0;
  virtual long send_message(int fd, const msghdr& m) noexcept = 0;
  virtual long receive_message(int fd, msghdr& m, int flags) noexcept = 0;
  // Of a descriptor that the program has: from now on it does not block.
  virtual int adopt(int fd) noexcept = 0;
  virtual int shut_down_writing(int fd) noexcept = 0;
  virtual int take_error(int fd) noexcept = 0;  // SO_ERROR, which asking clears; -1 for no socket.
  virtual int local_name(int fd, sockaddr* address, socklen_t* length) noexcept = 0;
  virtual int peer_name(int fd, sockaddr* address, socklen_t* length) noexcept = 0;
  virtual void close(int fd) noexcept = 0;  // Of any kind.

  // A set of descriptors, as epoll(7) has it, level-triggered: readable while one of them is ready. A descriptor is in
  // one set at most. No events: it is in it no longer.
  virtual int open_set() noexcept = 0;
  virtual int change_set(int set, int fd, unsigned events) noexcept = 0;
  virtual int look_at_set(int set, std::span<epoll_event> ready) noexcept = 0;

  // inotify(7): a descriptor that can be read while there are events, which come in the kernel's form. Of the flags
  // beside the events to watch for there are none, nor are reading and opening among these.
  virtual int open_watcher() noexcept = 0;
  virtual int add_watch(int watcher, const char* path, unsigned events) noexcept = 0;
  virtual int remove_watch(int watcher, int watch) noexcept = 0;
  virtual long read_changes(int watcher, std::span<std::byte> buffer) noexcept = 0;

  // What stands for resolv.conf(5): the address and port of the name server that the caller asks.
  virtual const char* name_server() noexcept = 0;
};

}  // namespace thrum::sched
