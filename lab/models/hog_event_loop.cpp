// Hogs as callbacks of an event loop: nothing can interrupt a callback, so everybody waits until it returns.

#include <functional>

#include "lab/models/event_loop.hpp"
#include "lab/models/models.hpp"
#include "lab/ticker.hpp"

namespace thrum::lab {

void hog_event_loop(const nlohmann::json& order) {
  event_loop loop;
  ticker t(order);
  for (int i = 0; i < order.at("hogs").get<int>(); ++i) loop.after(ticker::period * 2, [&t] { never_yield(t.end()); });

  ticker::clock::time_point due;
  std::function<void()> next = [&] {
    if (t.over()) return loop.stop();
    due = ticker::clock::now() + ticker::period;
    loop.after(ticker::period, [&] {
      t.tick(due);
      next();
    });
  };
  next();
  loop.run();
  t.report();
}

}  // namespace thrum::lab
