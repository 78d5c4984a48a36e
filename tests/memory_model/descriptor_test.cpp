// A descriptor that is closed while others use it.
#include <memory>

#include <gtest/gtest.h>
#include <thrum/detail/shared_descriptor.hpp>

#include "memory_model/checks.hpp"
#include "memory_model/plain.hpp"

namespace thrum::memory_model {
namespace {

constexpr int number = 7;

struct state {
  detail::shared_descriptor d{number};
  plain<int> file{number};  // What the system has under that number; 0: nothing any more.

  void leave() {
    if (!d.leave()) return;
    require(d.closed_number() == number, "another descriptor is closed");
    require(file.get() == number, "it is closed twice");
    file.set(0);
  }
  void use() {
    if (d.enter() < 0) return;
    require(file.get() == number, "a closed descriptor is used");
    leave();
  }
  void close() {
    if (d.close()) leave();
  }
};

set_up closed_among(int users, int closers) {
  return [=](program& p) {
    auto s = std::make_shared<state>();
    for (int i = 0; i < users; ++i) p.thread("user", [=] { s->use(); });
    for (int i = 0; i < closers; ++i) p.thread("closer", [=] { s->close(); });
    p.finally([=] {
      require(s->file.get() == 0, "it stays open");
      require(s->d.number() == -1 && s->d.enter() == -1, "it can be used still");
    });
  };
}

TEST(memory_descriptor, is_closed_once_when_nobody_uses_it) {
  expect_holds(closed_among(1, 1), {.preemptions = 4});
  expect_holds(closed_among(2, 1), {});
  expect_holds(closed_among(1, 2), {});
}
TEST(memory_descriptor, a_weaker_order_is_noticed) {
  expect_noticed(closed_among(1, 1), weakened("shared_descriptor::leave(", operation::modify));
}

}  // namespace
}  // namespace thrum::memory_model
