// A TCP server with a fixed pool of threads: one thread watches all connections and queues those with a
// request; a pool thread takes one, waits for the "database", answers. While it waits it can do nothing else,
// so the pool never serves more than threads / wait requests per second, however idle the processor is.

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "lab/limits.hpp"
#include "lab/models/models.hpp"
#include "lab/service.hpp"

namespace thrum::lab {
namespace {

struct client_state {
  int descriptor;
  buffer bytes;
};

class ready_queue {
 public:
  void push(client_state* c) {
    std::lock_guard hold(mutex_);
    ready_.push_back(c);
    not_empty_.notify_one();
  }
  client_state* pop() {
    std::unique_lock hold(mutex_);
    not_empty_.wait(hold, [&] { return !ready_.empty(); });
    client_state* c = ready_.front();
    ready_.pop_front();
    return c;
  }

 private:
  std::mutex mutex_;
  std::condition_variable not_empty_;
  std::deque<client_state*> ready_;
};

// One-shot: a connection with a request is reported once, until its pool thread asks for the next.
void watch(int poller, client_state* c, int operation) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLONESHOT;
  event.data.ptr = c;
  epoll_ctl(poller, operation, c->descriptor, &event);
}

void serve_for_ever(ready_queue& ready, int poller, std::chrono::milliseconds wait) {
  for (;;) {
    client_state* c = ready.pop();
    bool open = receive_request(c->descriptor, c->bytes);
    if (open) {
      std::this_thread::sleep_for(wait);  // The "database".
      answer_in_place(message_in(c->bytes));
      open = send_answer(c->descriptor, message_in(c->bytes));
    }
    if (open) {
      watch(poller, c, EPOLL_CTL_MOD);
      continue;
    }
    close(c->descriptor);
    delete c;
  }
}

void accept_for_ever(int listener, int poller) {
  for (;;) {
    int connection = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (connection >= 0)
      watch(poller, new client_state{connection, {}}, EPOLL_CTL_ADD);
    else
      rest_after_failed_accept(errno);
  }
}

void start_pool(ready_queue& ready, int poller, const service& s) {
  for (int i = 0; i < s.pool_threads; ++i) {
    try {
      std::thread(serve_for_ever, std::ref(ready), poller, s.wait).detach();
    } catch (const std::system_error& e) {
      report_limit(explain_kernel_tasks(e.code().value()));
      return;
    }
  }
}

}  // namespace

void c10k_pool(const nlohmann::json& order) {
  service s(order);
  int poller = epoll_create1(EPOLL_CLOEXEC);
  ready_queue ready;
  int listener = listen_and_announce(s);
  start_pool(ready, poller, s);
  std::thread(accept_for_ever, listener, poller).detach();
  std::array<epoll_event, 256> events;
  for (;;) {
    int n = epoll_wait(poller, events.data(), events.size(), -1);
    for (int i = 0; i < n; ++i) ready.push(static_cast<client_state*>(events[static_cast<std::size_t>(i)].data.ptr));
  }
}

}  // namespace thrum::lab
