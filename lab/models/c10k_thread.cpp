// A TCP server with a thread per connection: the same blocking code as with processes, in one address space.

#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <system_error>
#include <thread>

#include "lab/limits.hpp"
#include "lab/models/models.hpp"
#include "lab/service.hpp"

namespace thrum::lab {
namespace {

std::atomic<std::int64_t> alive{0};

void serve(int connection, std::chrono::milliseconds wait) {
  buffer bytes;
  while (receive_request(connection, bytes)) {
    std::this_thread::sleep_for(wait);  // The "database".
    answer_in_place(message_in(bytes));
    if (!send_answer(connection, message_in(bytes))) break;
  }
  close(connection);
  --alive;
}

void start_thread(int connection, std::chrono::milliseconds wait, const kernel_task_room& room) {
  if (alive >= room.tasks) {
    report_limit(room.limit);
    close(connection);
    return;
  }
  try {
    std::thread(serve, connection, wait).detach();
    ++alive;
  } catch (const std::system_error& e) {
    report_limit(explain_kernel_tasks(e.code().value()));
    close(connection);
  }
}

}  // namespace

void c10k_thread(const nlohmann::json& order) {
  service s(order);
  kernel_task_room room = room_for_kernel_tasks();
  int listener = listen_and_announce(s);
  for (;;) {
    int connection = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (connection >= 0)
      start_thread(connection, s.wait, room);
    else
      rest_after_failed_accept(errno);
  }
}

}  // namespace thrum::lab
