// A TCP server with a fiber per connection that holds a buffer only while it needs one: it waits until there
// is something to read, borrows a buffer, keeps the 64 bytes that matter and gives the buffer back before it
// waits again.

#include <memory>
#include <mutex>
#include <system_error>
#include <thrum/thrum.hpp>
#include <utility>
#include <vector>

#include "lab/models/models.hpp"
#include "lab/models/thrum_listener.hpp"
#include "lab/service.hpp"

namespace thrum::lab {
namespace {

// A plain std::mutex is fine here: nobody waits while holding it.
class buffer_pool {
 public:
  std::unique_ptr<buffer> borrow() {
    std::lock_guard hold(mutex_);
    if (free_.empty()) return std::make_unique<buffer>();
    auto taken = std::move(free_.back());
    free_.pop_back();
    return taken;
  }
  void give_back(std::unique_ptr<buffer> b) {
    std::lock_guard hold(mutex_);
    free_.push_back(std::move(b));
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<buffer>> free_;
};

buffer_pool pool;

bool receive(thrum::net::tcp_stream& connection, message into) {
  for (std::size_t have = 0; have < message_bytes;) {
    connection.wait_readable();
    auto borrowed = pool.borrow();
    std::size_t n = connection.read_some(*borrowed);
    std::size_t used = std::min(n, message_bytes - have);
    std::copy_n(borrowed->begin(), used, into.begin() + static_cast<std::ptrdiff_t>(have));
    pool.give_back(std::move(borrowed));
    if (n == 0) return false;
    have += used;
  }
  return true;
}

void serve(thrum::net::tcp_stream connection, std::chrono::milliseconds wait) try {
  std::array<std::byte, message_bytes> request;
  while (receive(connection, request)) {
    thrum::this_fiber::sleep_for(wait);  // The "database".
    answer_in_place(request);
    connection.write_all(request);
  }
} catch (const std::system_error&) {
  // The client has gone in the middle of a request.
}

}  // namespace

void c10k_fiber_borrow(const nlohmann::json& order) {
  service s(order);
  thrum::run([&] { accept_for_ever(s, serve); });
}

}  // namespace thrum::lab
