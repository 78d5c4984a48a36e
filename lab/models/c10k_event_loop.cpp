// A TCP server as an event loop with callbacks, as nginx or Node work: one thread, no call ever waits, so
// what would be three lines of blocking code becomes an object with a state and a callback for each step.

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "lab/models/event_loop.hpp"
#include "lab/models/models.hpp"
#include "lab/service.hpp"

namespace thrum::lab {
namespace {

class connection final : public event_loop::handler {
 public:
  connection(event_loop& loop, int descriptor, std::chrono::milliseconds wait)
      : loop_(loop), descriptor_(descriptor), wait_(wait) {
    loop_.watch(descriptor_, this);
  }

  // Step 1: bytes arrive, perhaps not all at once.
  void on_readable() override {
    ssize_t n = recv(descriptor_, bytes_.data() + have_, bytes_.size() - have_, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) return end();
    have_ += static_cast<std::size_t>(n);
    if (have_ < message_bytes || waiting_) return;
    waiting_ = true;
    loop_.after(wait_, [this] { on_database_answer(); });  // The "database".
  }

 private:
  // Step 2: the answer. 64 bytes always fit into the empty send buffer of a client that asks one thing at a
  // time; a client that does not read its answers is dropped.
  void on_database_answer() {
    waiting_ = false;
    if (ended_) return end();
    answer_in_place(message_in(bytes_));
    have_ = 0;
    if (send(descriptor_, bytes_.data(), message_bytes, MSG_NOSIGNAL) != ssize_t{message_bytes}) end();
  }

  // The timer still refers to this object while the database is asked.
  void end() {
    if (!ended_) {
      loop_.forget(descriptor_);
      close(descriptor_);
    }
    ended_ = true;
    if (!waiting_) delete this;
  }

  event_loop& loop_;
  int descriptor_;
  std::chrono::milliseconds wait_;
  std::size_t have_ = 0;
  bool waiting_ = false;
  bool ended_ = false;
  buffer bytes_;
};

class acceptor final : public event_loop::handler {
 public:
  acceptor(event_loop& loop, int listener, std::chrono::milliseconds wait)
      : loop_(loop), listener_(listener), wait_(wait) {
    loop_.watch(listener_, this);
  }

  void on_readable() override {
    for (int fd; (fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0;)
      new connection(loop_, fd, wait_);  // Deletes itself when its client has gone.
    if (errno != EAGAIN) rest_after_failed_accept(errno);
  }

 private:
  event_loop& loop_;
  int listener_;
  std::chrono::milliseconds wait_;
};

}  // namespace

void c10k_event_loop(const nlohmann::json& order) {
  service s(order);
  event_loop loop;
  acceptor accept_all(loop, listen_and_announce(s, /*blocking=*/false), s.wait);
  loop.run();
}

}  // namespace thrum::lab
