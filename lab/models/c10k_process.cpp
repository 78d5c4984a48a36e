// A TCP server with a process per connection, as inetd and early Apache did it: accept, fork, blocking code.

#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <thread>

#include "lab/child.hpp"
#include "lab/limits.hpp"
#include "lab/models/models.hpp"
#include "lab/service.hpp"

namespace thrum::lab {
namespace {

void serve(int connection, std::chrono::milliseconds wait) {
  buffer bytes;
  while (receive_request(connection, bytes)) {
    std::this_thread::sleep_for(wait);  // The "database".
    answer_in_place(message_in(bytes));
    if (!send_answer(connection, message_in(bytes))) return;
  }
}

}  // namespace

void c10k_process(const nlohmann::json& order) {
  service s(order);
  kernel_task_room room = room_for_kernel_tasks();
  pid_t parent = getpid();
  int listener = listen_and_announce(s);
  for (std::int64_t alive = 0;;) {
    while (waitpid(-1, nullptr, WNOHANG) > 0) --alive;
    int connection = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (connection < 0) {
      rest_after_failed_accept(errno);
      continue;
    }
    pid_t pid = alive < room.tasks ? fork() : -1;
    if (pid == 0) {
      close(listener);
      die_with_parent(parent);
      serve(connection, s.wait);
      _exit(0);
    }
    if (pid > 0)
      ++alive;
    else
      report_limit(alive < room.tasks ? explain_kernel_tasks(errno) : room.limit);
    close(connection);  // The child has its own copy; without a child the client sees the end at once.
  }
}

}  // namespace thrum::lab
