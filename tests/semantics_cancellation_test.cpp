// For each call that may suspend: cancelled where it waits, cancelled before, and cancelled in a race with its
// completion. It throws `cancelled` and did not happen, or it happened: nothing is lost in between.
#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

// One kind of waiting call, and the things it works on.
class subject {
 public:
  virtual ~subject() = default;
  virtual void call() = 0;                    // Waits for ever unless completed.
  virtual task<> async_call() { co_return; }  // The same for tasks, by the twin.
  // Lets one call() through, now or later; where that takes two, waits as long as `patience` for the call.
  virtual void complete(std::chrono::nanoseconds patience) = 0;
  virtual void check_untouched() {}  // Neither completed nor called to the end: is everything as before?
  virtual void settle(bool) {}       // After complete(): happened or not, is everything in its place?
};

struct sends final : subject {
  channel<std::unique_ptr<int>> ch{0};
  std::unique_ptr<int> v = std::make_unique<int>(7);
  std::optional<std::unique_ptr<int>> got;

  void call() override {
    try {
      ch.send(std::move(v));
    } catch (const cancelled&) {
      EXPECT_TRUE(v && *v == 7) << "the argument was moved";
      throw;
    }
    EXPECT_FALSE(v);
  }
  task<> async_call() override {
    co_await ch.async_send(std::make_unique<int>(7));
    v = nullptr;
  }
  void complete(std::chrono::nanoseconds patience) override { got = ch.receive_for(patience); }
  void check_untouched() override { EXPECT_EQ(ch.try_receive(), std::nullopt); }
  void settle(bool happened) override {
    EXPECT_EQ(happened, got.has_value());
    EXPECT_EQ(ch.try_receive(), std::nullopt);
  }
};

struct receives final : subject {
  channel<std::unique_ptr<int>> ch{0};
  std::optional<std::unique_ptr<int>> got;
  bool given = false;

  void call() override { got = ch.receive(); }
  task<> async_call() override { got = co_await ch.async_receive(); }
  void complete(std::chrono::nanoseconds patience) override { given = ch.send_for(std::make_unique<int>(7), patience); }
  void check_untouched() override { EXPECT_FALSE(ch.try_send(std::make_unique<int>(1))); }
  void settle(bool happened) override {
    EXPECT_EQ(happened, given);
    EXPECT_EQ(got.has_value(), given);
  }
};

struct receives_buffered final : subject {
  channel<int> ch{4};
  void call() override { EXPECT_EQ(ch.receive(), 7); }
  task<> async_call() override {
    const auto v = co_await ch.async_receive();
    EXPECT_EQ(v, 7);
  }
  void complete(std::chrono::nanoseconds) override { ch.send(7); }
  void check_untouched() override { EXPECT_EQ(ch.size(), 0u); }
  void settle(bool happened) override { EXPECT_EQ(ch.size(), happened ? 0u : 1u); }
};

struct sends_to_a_full_buffer final : subject {
  channel<int> ch{1};
  int got = 0;
  sends_to_a_full_buffer() { ch.send(1); }
  void call() override { ch.send(2); }
  task<> async_call() override { co_await ch.async_send(2); }
  void complete(std::chrono::nanoseconds) override { got = *ch.receive(); }
  void check_untouched() override {
    EXPECT_EQ(ch.receive(), 1);
    EXPECT_EQ(ch.size(), 0u);
  }
  void settle(bool happened) override {
    EXPECT_EQ(got, 1);
    EXPECT_EQ(ch.size(), happened ? 1u : 0u);
  }
};

struct selects final : subject {
  channel<int> a{4}, b{0}, c{0};
  int got = 0, sent = 0;
  void call() override {
    select(a.on_receive([&](auto v) { got = *v; }), b.on_send(1, [&] { ++sent; }), c.on_receive([](auto) {}));
  }
  task<> async_call() override {
    co_await async_select(a.on_receive([&](auto v) { got = *v; }), b.on_send(1, [&] { ++sent; }),
                          c.on_receive([](auto) {}));
  }
  void complete(std::chrono::nanoseconds) override { a.send(7); }
  void check_untouched() override {
    EXPECT_EQ(b.try_receive(), std::nullopt);
    EXPECT_FALSE(c.try_send(1));
    EXPECT_EQ(a.size(), 0u);
  }
  void settle(bool happened) override {
    EXPECT_EQ(a.size(), happened ? 0u : 1u);
    EXPECT_EQ(got, happened ? 7 : 0);
    EXPECT_EQ(sent, 0);
    EXPECT_EQ(b.try_receive(), std::nullopt);
  }
};

struct waits_for_a_group final : subject {
  wait_group wg{1};
  void call() override { wg.wait(); }
  task<> async_call() override { co_await wg.async_wait(); }
  void complete(std::chrono::nanoseconds) override { wg.done(); }
  void check_untouched() override { EXPECT_THROW(wg.add(-2), negative_wait_group); }
};

struct waits_for_a_condition final : subject {
  mutex m;
  condition_variable changed;
  bool done = false;
  void call() override {
    std::unique_lock hold(m);
    try {
      changed.wait(hold, [&] { return done; });
    } catch (const cancelled&) {
      EXPECT_TRUE(hold.owns_lock());
      EXPECT_TRUE(hold.mutex() == &m);
      throw;
    }
  }
  task<> async_call() override {
    auto hold = co_await m.async_scoped_lock();
    try {
      while (!done) co_await changed.async_wait(hold);
    } catch (const cancelled&) {
      EXPECT_TRUE(hold.owns_lock());
      throw;
    }
  }
  void complete(std::chrono::nanoseconds) override {
    std::lock_guard hold(m);
    done = true;
    changed.notify_one();
  }
  void check_untouched() override {
    EXPECT_TRUE(m.try_lock());
    m.unlock();
  }
  void settle(bool) override { check_untouched(); }
};

struct joins final : subject {
  std::atomic<bool> end{false};
  fiber inner;
  joins()
      : inner(spawn([this] {
          scope shielded{.shield = true};
          while (!end) this_fiber::sleep_for(100us);
        })) {}
  ~joins() override { end = true; }
  void call() override {
    try {
      inner.join();
      EXPECT_FALSE(inner.joinable());
    } catch (const cancelled&) {
      EXPECT_TRUE(inner.joinable());
      throw;
    }
  }
  task<> async_call() override {
    try {
      co_await inner.async_join();
      EXPECT_FALSE(inner.joinable());
    } catch (const cancelled&) {
      EXPECT_TRUE(inner.joinable());
      throw;
    }
  }
  void complete(std::chrono::nanoseconds) override { end = true; }
  void check_untouched() override { end = true; }
};

struct joins_a_task final : subject {
  event end;
  task_handle<int> inner = spawn(wait_shielded());
  ~joins_a_task() override { end.set(); }
  task<int> wait_shielded() {
    scope shielded{.shield = true};
    co_await end.async_wait();
    co_return 7;
  }
  int got = 0;
  void call() override { got = inner.join(); }
  task<> async_call() override { got = co_await inner.async_join(); }
  void complete(std::chrono::nanoseconds) override { end.set(); }
  void check_untouched() override {
    EXPECT_TRUE(inner.joinable());
    end.set();
  }
  void settle(bool happened) override { EXPECT_TRUE(happened ? got == 7 : inner.join() == 7); }
};

struct waits_for_a_future final : subject {
  channel<int> gate{1};
  scope s{.shield = true};
  future<int> f = s.async([this] { return *gate.receive(); });
  int got = 0;
  void call() override {
    f.wait();
    got = f.get();
  }
  task<> async_call() override { got = co_await f.async_get(); }
  void complete(std::chrono::nanoseconds) override { gate.send(7); }
  void check_untouched() override {
    EXPECT_TRUE(f.valid());
    EXPECT_FALSE(f.ready());
  }
  void settle(bool happened) override { EXPECT_TRUE(happened ? got == 7 : f.get() == 7); }
};

struct sleeps final : subject {
  void call() override { this_fiber::sleep_for(24h); }
  task<> async_call() override { co_await async_sleep_for(24h); }
  void complete(std::chrono::nanoseconds) override {}
};

struct reads final : subject {
  net::tcp_listener l = net::tcp_listener::bind("127.0.0.1:0");
  net::tcp_stream out = net::tcp_stream::connect(l.local_address()), in = l.accept();
  std::string got;
  void call() override {
    std::array<char, 16> buffer;
    const auto n = in.read_some(std::as_writable_bytes(std::span(buffer)));
    got.assign(buffer.data(), n);
  }
  task<> async_call() override {
    std::array<char, 16> buffer;
    const auto n = co_await in.async_read_some(std::as_writable_bytes(std::span(buffer)));
    got.assign(buffer.data(), n);
  }
  void complete(std::chrono::nanoseconds) override { out.write_all(std::as_bytes(std::span("abc", 3))); }
  void settle(bool happened) override {
    if (!happened) call();
    EXPECT_EQ(got, "abc");
  }
};

struct waits_for_readability final : subject {
  net::tcp_listener l = net::tcp_listener::bind("127.0.0.1:0");
  net::tcp_stream out = net::tcp_stream::connect(l.local_address()), in = l.accept();
  void call() override { in.wait_readable(); }
  task<> async_call() override { co_await in.async_wait_readable(); }
  void complete(std::chrono::nanoseconds) override { out.write_all(std::as_bytes(std::span("abc", 3))); }
  void settle(bool) override {
    std::array<std::byte, 3> buffer;
    in.read_exactly(buffer);
  }
};

struct accepts final : subject {
  net::tcp_listener l = net::tcp_listener::bind("127.0.0.1:0");
  net::tcp_stream accepted, out;
  void call() override { accepted = l.accept(); }
  task<> async_call() override { accepted = co_await l.async_accept(); }
  void complete(std::chrono::nanoseconds) override { out = net::tcp_stream::connect(l.local_address()); }
  void settle(bool happened) override {
    if (!happened) accepted = l.accept();
    EXPECT_EQ(accepted.remote_address(), out.local_address());
  }
};

struct writes_to_a_full_socket final : subject {
  net::tcp_listener l = net::tcp_listener::bind("127.0.0.1:0");
  net::tcp_stream out = net::tcp_stream::connect(l.local_address()), in = l.accept();
  std::size_t written = 0, read = 0;
  writes_to_a_full_socket() {
    const std::vector<std::byte> block(1 << 16);
    std::error_code error;
    out.set_timeout(5ms);
    while (!error) written += out.write_some(block, error);
    out.set_timeout({});
  }
  void call() override { written += out.write_some(std::as_bytes(std::span("x", 1))); }
  task<> async_call() override { written += co_await out.async_write_some(std::as_bytes(std::span("x", 1))); }
  void complete(std::chrono::nanoseconds) override {
    std::vector<std::byte> block(1 << 20);
    std::error_code error;
    in.set_timeout(2ms);
    while (!error) read += in.read_some(block, error);
    in.set_timeout({});
  }
  void settle(bool) override {
    out.shutdown_write();
    std::vector<std::byte> block(1 << 20);
    while (auto n = in.read_some(block)) read += n;
    EXPECT_EQ(read, written);  // No byte lost, none doubled.
  }
};

struct acquires_a_permit final : subject {
  counting_semaphore<2> s{0};
  void call() override { s.acquire(); }
  task<> async_call() override { co_await s.async_acquire(); }
  void complete(std::chrono::nanoseconds) override { s.release(); }
  void check_untouched() override { EXPECT_FALSE(s.try_acquire()); }
  void settle(bool happened) override { EXPECT_EQ(s.try_acquire(), !happened); }
};

struct waits_for_a_latch final : subject {
  latch l{1};
  void call() override { l.wait(); }
  task<> async_call() override { co_await l.async_wait(); }
  void complete(std::chrono::nanoseconds) override { l.count_down(); }
  void check_untouched() override { EXPECT_FALSE(l.try_wait()); }
};

struct waits_for_an_event final : subject {
  event e;
  void call() override { e.wait(); }
  task<> async_call() override { co_await e.async_wait(); }
  void complete(std::chrono::nanoseconds) override { e.set(); }
  void check_untouched() override { EXPECT_FALSE(e.is_set()); }
};

struct waits_at_a_barrier final : subject {
  barrier<> b{2};
  barrier<>::arrival_token mine = b.arrive();
  void call() override { b.wait(mine); }
  task<> async_call() override { co_await b.async_wait(mine); }
  void complete(std::chrono::nanoseconds) override { (void)b.arrive(); }
  void check_untouched() override { EXPECT_FALSE(b.wait_for(mine, 0s)); }
};

struct waits_until_it_was_done_once final : subject {
  once_flag flag;
  event let_end;
  fiber runner = spawn([this] { call_once(flag, [this] { let_end.wait(); }); });
  waits_until_it_was_done_once() { test::settle(); }
  void call() override {
    call_once(flag, [] { ADD_FAILURE() << "done twice"; });
  }
  task<> async_call() override {
    return async_call_once(flag, [] { ADD_FAILURE() << "done twice"; });
  }
  void complete(std::chrono::nanoseconds) override { let_end.set(); }
  void check_untouched() override {
    let_end.set();
    runner.join();
    call_once(flag, [] { ADD_FAILURE() << "done twice"; });
  }
};

struct waits_for_guarded_data final : subject {
  guarded<int> data{0};
  void call() override {
    --*data.wait([](int v) { return v > 0; });
  }
  task<> async_call() override {
    auto a = co_await async_wait(data, [](int v) { return v > 0; });
    --*a;
  }
  void complete(std::chrono::nanoseconds) override { ++*data.lock(); }
  void check_untouched() override { EXPECT_EQ(*data.lock(), 0); }
  void settle(bool happened) override { EXPECT_EQ(*data.lock(), happened ? 0 : 1); }
};

struct receives_from_an_unbounded_one final : subject {
  channel<std::unique_ptr<int>> ch{unbounded};
  std::optional<std::unique_ptr<int>> got;
  void call() override { got = ch.receive(); }
  task<> async_call() override { got = co_await ch.async_receive(); }
  void complete(std::chrono::nanoseconds) override { ch.send(std::make_unique<int>(7)); }
  void check_untouched() override { EXPECT_EQ(ch.size(), 0u); }
  void settle(bool happened) override {
    EXPECT_EQ(got.has_value(), happened);
    EXPECT_EQ(ch.size(), happened ? 0u : 1u);
  }
};

struct sends_through_its_end final : subject {
  std::pair<sender<std::unique_ptr<int>>, receiver<std::unique_ptr<int>>> ends = make_channel<std::unique_ptr<int>>(0);
  std::unique_ptr<int> v = std::make_unique<int>(7);
  std::optional<std::unique_ptr<int>> got;
  void call() override { ends.first.send(std::move(v)); }
  task<> async_call() override {
    co_await ends.first.async_send(std::make_unique<int>(7));
    v = nullptr;
  }
  void complete(std::chrono::nanoseconds patience) override { got = ends.second.receive_for(patience); }
  void check_untouched() override {
    EXPECT_TRUE(v);
    EXPECT_EQ(ends.second.try_receive(), std::nullopt);
  }
  void settle(bool happened) override {
    EXPECT_EQ(happened, got.has_value());
    EXPECT_EQ(happened, !v);
  }
};

struct waits_for_a_promise final : subject {
  promise<std::unique_ptr<int>> p;
  future<std::unique_ptr<int>> f = p.get_future();
  std::unique_ptr<int> got;
  void call() override { got = f.get(); }
  task<> async_call() override { got = co_await f.async_get(); }
  void complete(std::chrono::nanoseconds) override { p.set_value(std::make_unique<int>(7)); }
  void check_untouched() override { EXPECT_TRUE(f.valid() && !f.ready()); }
  void settle(bool happened) override {
    EXPECT_EQ(happened, got != nullptr);
    EXPECT_EQ(happened, !f.valid());
  }
};

struct waits_for_both final : subject {
  promise<int> a, b;
  shared_future<std::tuple<future<int>, future<int>>> f = when_all(a.get_future(), b.get_future());
  waits_for_both() { a.set_value(1); }
  void call() override { f.wait(); }
  task<> async_call() override { co_await f.async_wait(); }
  void complete(std::chrono::nanoseconds) override { b.set_value(2); }
  void check_untouched() override { EXPECT_FALSE(f.ready()); }
  void settle(bool) override { EXPECT_TRUE(f.ready()); }
};

struct waits_for_a_timer final : subject {
  timer t{24h};
  bool got = false;
  void call() override { got = t.receive().has_value(); }
  task<> async_call() override {
    const auto due = co_await t.async_receive();
    got = due.has_value();
  }
  void complete(std::chrono::nanoseconds) override { t.reset(0s); }
  void check_untouched() override { EXPECT_EQ(t.try_receive(), std::nullopt); }
  void settle(bool happened) override {
    EXPECT_EQ(got, happened);
    EXPECT_EQ(t.try_receive().has_value(), !happened);
  }
};

struct selects_a_timer final : subject {
  timer t{24h};
  channel<int> ch{0};
  bool got = false;
  void call() override {
    select(ch.on_receive([](auto) {}), t.on_receive([this](auto due) { got = due.has_value(); }));
  }
  task<> async_call() override {
    co_await async_select(ch.on_receive([](auto) {}), t.on_receive([this](auto due) { got = due.has_value(); }));
  }
  void complete(std::chrono::nanoseconds) override { t.reset(0s); }
  void check_untouched() override {
    EXPECT_EQ(t.try_receive(), std::nullopt);
    EXPECT_FALSE(ch.try_send(1));
  }
  void settle(bool happened) override {
    EXPECT_EQ(got, happened);
    EXPECT_EQ(t.try_receive().has_value(), !happened);
  }
};

struct waits_on_an_address final : subject {
  std::atomic<int> value{0};
  void call() override { wait_on_address(value, 0); }
  task<> async_call() override { co_await async_wait_on_address(value, 0); }
  void complete(std::chrono::nanoseconds) override {
    value = 1;
    wake_by_address_one(value);
  }
  void check_untouched() override { EXPECT_FALSE(wait_on_address_for(value, 0, 0s)); }
};

using maker = std::function<std::unique_ptr<subject>()>;
struct kind {
  const char* name;
  maker make;
  bool completes = true;  // There is something to complete it with.
};
template <class S>
maker make() {
  return [] { return std::make_unique<S>(); };
}

const std::vector<kind> kinds{
    {"channel_send", make<sends>()},
    {"channel_receive", make<receives>()},
    {"buffered_receive", make<receives_buffered>()},
    {"buffered_send", make<sends_to_a_full_buffer>()},
    {"select", make<selects>()},
    {"wait_group_wait", make<waits_for_a_group>()},
    {"condition_variable_wait", make<waits_for_a_condition>()},
    {"semaphore_acquire", make<acquires_a_permit>()},
    {"latch_wait", make<waits_for_a_latch>()},
    {"event_wait", make<waits_for_an_event>()},
    {"barrier_wait", make<waits_at_a_barrier>()},
    {"call_once", make<waits_until_it_was_done_once>()},
    {"guarded_wait", make<waits_for_guarded_data>()},
    {"wait_on_address", make<waits_on_an_address>()},
    {"fiber_join", make<joins>()},
    {"task_join", make<joins_a_task>()},
    {"future_wait", make<waits_for_a_future>()},
    {"promise_wait", make<waits_for_a_promise>()},
    {"when_all_wait", make<waits_for_both>()},
    {"unbounded_receive", make<receives_from_an_unbounded_one>()},
    {"sender_send", make<sends_through_its_end>()},
    {"receive_of_a_timer", make<waits_for_a_timer>()},
    {"select_of_a_timer", make<selects_a_timer>()},
    {"sleep_for", make<sleeps>(), false},
    {"tcp_read", make<reads>()},
    {"tcp_wait_readable", make<waits_for_readability>()},
    {"tcp_accept", make<accepts>()},
    {"tcp_write", make<writes_to_a_full_socket>()},
};

enum class caller { fiber, task };

struct combination {
  unsigned workers;
  kind subject;
  caller by;
};
std::vector<combination> combinations() {
  std::vector<combination> all;
  for (const unsigned workers : {1u, 2u, 4u})
    for (const auto& k : kinds)
      for (const auto by : {caller::fiber, caller::task}) all.push_back({workers, k, by});
  return all;
}

class cancellation : public ::testing::TestWithParam<combination> {
 protected:
  template <class F>
  static void run(F&& f) {
    with_workers(GetParam().workers, std::forward<F>(f));
  }
  static bool completes() { return GetParam().subject.completes; }
  static std::unique_ptr<subject> make_subject() { return GetParam().subject.make(); }
  static bool by_task() { return GetParam().by == caller::task; }
};
INSTANTIATE_TEST_SUITE_P(calls, cancellation, ::testing::ValuesIn(combinations()), [](const auto& instance) {
  const combination& c = instance.param;
  return c.subject.name + std::string(c.by == caller::task ? "_by_task_" : "_") + std::to_string(c.workers);
});

enum class outcome { happened, cancelled };

// Tells how the call ended.
task<> tell(subject& s, std::atomic<outcome>& result) {
  try {
    co_await s.async_call();
    result = outcome::happened;
  } catch (const cancelled&) {
    result = outcome::cancelled;
    throw;
  }
}

// A fiber or a task that makes the call.
struct running_call {
  running_call(subject& s, std::atomic<outcome>& result, bool by_task) {
    if (by_task)
      as_task = spawn(tell(s, result));
    else
      as_fiber = spawn([&] {
        try {
          s.call();
          result = outcome::happened;
        } catch (const cancelled&) {
          result = outcome::cancelled;
          throw;
        }
      });
  }
  void request_stop() {
    as_fiber.request_stop();
    as_task.request_stop();
  }
  void join() { as_fiber.joinable() ? as_fiber.join() : as_task.join(); }

  fiber as_fiber;
  task_handle<void> as_task;
};

TEST_P(cancellation, where_it_waits_it_throws_and_did_not_happen) {
  run([] {
    for (int i = 0; i < 5; ++i) {
      auto s = make_subject();
      std::atomic<outcome> result{outcome::happened};
      running_call c(*s, result, by_task());
      settle();
      c.request_stop();
      c.join();
      EXPECT_EQ(result, outcome::cancelled);
      s->check_untouched();
    }
  });
}

// Makes the call in a scope that is cancelled already or will be.
outcome call_in(subject& s, bool by_task, std::chrono::nanoseconds deadline, bool& expired) {
  std::atomic<outcome> result{outcome::happened};
  const auto in_task = [&]() -> task<> {
    scope limited{.deadline = deadline};
    if (deadline == 24h) limited.cancel();
    try {
      co_await tell(s, result);
    } catch (const cancelled&) {
    }
    try {
      co_await limited.async_join();
    } catch (const timed_out&) {
      expired = true;
    }
  };
  if (by_task) {
    spawn(in_task()).join();
    return result;
  }
  scope limited{.deadline = deadline};
  if (deadline == 24h) limited.cancel();
  try {
    s.call();
  } catch (const cancelled&) {
    result = outcome::cancelled;
  }
  try {
    limited.join();
  } catch (const timed_out&) {
    expired = true;
  }
  return result;
}

TEST_P(cancellation, in_a_cancelled_scope_it_throws_at_once_and_did_not_happen) {
  run([] {
    auto s = make_subject();
    bool expired = false;
    EXPECT_EQ(call_in(*s, by_task(), 24h, expired), outcome::cancelled);
    EXPECT_FALSE(expired);
    s->check_untouched();
  });
}

TEST_P(cancellation, by_a_deadline_it_throws_and_the_scope_reports_timed_out) {
  run([] {
    auto s = make_subject();
    bool expired = false;
    EXPECT_EQ(call_in(*s, by_task(), 2ms, expired), outcome::cancelled);
    EXPECT_TRUE(expired);
    s->check_untouched();
  });
}

TEST_P(cancellation, a_shield_keeps_it_away) {
  if (!completes()) return;
  run([] {
    auto s = make_subject();
    std::atomic<bool> happened{false};
    fiber f;
    task_handle<void> t;
    const auto in_task = [&]() -> task<> {
      scope shielded{.shield = true};
      co_await s->async_call();
      happened = true;
    };
    if (by_task())
      t = spawn(in_task());
    else
      f = spawn([&] {
        scope shielded{.shield = true};
        s->call();
        happened = true;
      });
    settle();
    f.request_stop();
    t.request_stop();
    settle();
    EXPECT_FALSE(happened);
    s->complete(24h);
    by_task() ? t.join() : f.join();
    EXPECT_TRUE(happened);
    s->settle(true);
  });
}

TEST_P(cancellation, in_a_race_with_its_completion_nothing_is_lost) {
  if (!completes()) return;
  run([] {
    for (int i = 0; i < 40; ++i) {
      auto s = make_subject();
      std::atomic<outcome> result{outcome::cancelled};
      running_call c(*s, result, by_task());
      if (i % 3 == 0)
        settle();
      else
        this_fiber::yield();
      fiber stopper = spawn([&] { c.request_stop(); });
      s->complete(1ms);
      stopper.join();
      c.join();
      s->settle(result == outcome::happened);
    }
  });
}

TEST(cancellation_points, locking_and_ending_calls_are_none) {
  with_workers(1, [] {
    mutex m;
    condition_variable changed;
    wait_group wg(2);
    channel<int> ch(1);
    scope s;
    s.cancel();
    m.lock();
    m.unlock();
    EXPECT_TRUE(m.try_lock());
    m.unlock();
    changed.notify_all();
    wg.done();
    wg.add(-1);
    ch.close();
    go([] {});
    fiber f = spawn([] {});
    f.detach();
    s.go([] {});
    s.join();
  });
}

// Many in one scope: all end, in whatever they wait.
TEST_P(cancellation, reaches_everybody_in_the_scope) {
  run([] {
    std::vector<std::unique_ptr<subject>> subjects;
    std::vector<std::atomic<outcome>> results(100);
    const std::size_t count = GetParam().subject.name[1] == 'c' ? 8 : 100;  // Sockets are dear.
    for (std::size_t i = 0; i < count; ++i) subjects.push_back(make_subject());
    scope s;
    for (std::size_t i = 0; i < count; ++i) {
      if (by_task())
        go_in(s, tell(*subjects[i], results[i]));
      else
        s.go([&, i] {
          try {
            subjects[i]->call();
          } catch (const cancelled&) {
            results[i] = outcome::cancelled;
          }
        });
    }
    settle();
    s.cancel();
    s.join();
    for (std::size_t i = 0; i < count; ++i) EXPECT_EQ(results[i], outcome::cancelled);
    for (auto& one : subjects) one->check_untouched();
    while (!subjects.empty()) subjects.pop_back();  // Scopes end in the reverse order of their opening.
  });
}

}  // namespace
}  // namespace thrum
