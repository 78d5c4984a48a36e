// A child as it is watched: its pidfd, and what is known of its end.
//
// Looking and reaping are two steps. look() asks the kernel without taking the status away, so several may; the status
// is stored first and the child reaped afterwards, so whoever is told that there is no such child finds the status. Its
// number, which is its group's too, stays taken until it is reaped: signals to the group are sent under the lock that
// reaping takes.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <system_error>

#include <thrum/detail/spinlock.hpp>
#include <thrum/process.hpp>
#include <thrum/task.hpp>

namespace thrum::detail {

class child : public net::socket {
 public:
  child(int pidfd, int id, bool leads_group) noexcept : socket(pidfd), id_(id), leads_group_(leads_group) {}
  // Kills what was not waited for.
  ~child();

  int id() const noexcept { return id_; }

  // Until it has ended. False: an error, which is timed_out when the deadline has passed. Does not reap.
  bool wait_for_end(std::int64_t deadline_ns, std::error_code& error);
  task<bool> async_wait_for_end(std::int64_t deadline_ns, std::error_code& error);
  select_clause describe_end() { return describe(direction::reading); }

  void send(int signal, std::error_code& error) noexcept;
  void send_to_group(int signal, std::error_code& error) noexcept;
  void send_to_all(int signal) noexcept;  // The group, if it leads one.

  exit_status status() const noexcept;  // Once it has ended.
  void reap() noexcept;
  using socket::release;  // The pidfd, to be reaped by somebody else.

 private:
  struct looking;
  long look(int fd) noexcept;

  static constexpr std::uint32_t known = 1u << 31, by_signal = 1u << 30;

  const int id_;
  const bool leads_group_;
  // Written with release by look(), read with acquire by look() and status(): of a waiter that the kernel has told that
  // somebody else has reaped.
  std::atomic<std::uint32_t> ended_{0};
  spinlock lock_;        // Guards:
  bool reaped_ = false;  // Its number may be another's.
};

// The child that has just been started. Null, with an error: it was killed, or somebody else has reaped it.
std::unique_ptr<child> watch_started(int pid, bool leads_group, std::error_code& error);

// Has it reaped by a thread in the background, when it ends. Takes over the pidfd.
void reap_later(int pidfd) noexcept;
// Reaps if it has ended; the descriptor stays open.
bool reap_now(int pidfd) noexcept;

}  // namespace thrum::detail
