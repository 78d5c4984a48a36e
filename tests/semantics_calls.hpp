// The calls that wait, each with the things that it works on and what must hold of them when it was cancelled, and when
// it was not. What is done with them: semantics_cancellation_test.cpp.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <unistd.h>

#include "support.hpp"

namespace thrum::test {

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
    got.append(buffer.data(), n);
  }
  task<> async_call() override {
    std::array<char, 16> buffer;
    const auto n = co_await in.async_read_some(std::as_writable_bytes(std::span(buffer)));
    got.append(buffer.data(), n);
  }
  void complete(std::chrono::nanoseconds) override { out.write_all(std::as_bytes(std::span("abc", 3))); }
  void settle(bool happened) override {
    EXPECT_EQ(happened, !got.empty());
    while (got.size() < 3) call();
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

struct accepts_unix final : subject {
  net::unix_listener l = net::unix_listener::bind("@thrum_semantics_" + std::to_string(next_name++));
  net::unix_stream accepted, out;
  static inline std::atomic<int> next_name = static_cast<int>(::getpid()) << 8;
  void call() override { accepted = l.accept(); }
  task<> async_call() override { accepted = co_await l.async_accept(); }
  void complete(std::chrono::nanoseconds) override { out = net::unix_stream::connect(l.local_address()); }
  void settle(bool happened) override {
    if (!happened) accepted = l.accept();
    EXPECT_EQ(accepted.local_address(), out.remote_address());
  }
};

struct receives_a_descriptor final : subject {
  std::pair<net::unix_stream, net::unix_stream> ends = net::unix_stream::pair();
  net::descriptor got;
  std::array<std::byte, 4> buffer;
  void call() override { ends.first.receive_descriptor(buffer, got); }
  task<> async_call() override { (void)co_await ends.first.async_receive_descriptor(buffer, got); }
  void complete(std::chrono::nanoseconds) override { ends.second.send_descriptor(0, std::as_bytes(std::span("x", 1))); }
  void settle(bool happened) override {
    if (!happened) call();
    EXPECT_TRUE(got.is_open());
  }
};

struct sends_a_descriptor final : subject {
  std::pair<net::unix_stream, net::unix_stream> ends = net::unix_stream::pair();
  std::size_t written = 0;
  sends_a_descriptor() {
    const std::vector<std::byte> block(1 << 14);
    std::error_code error;
    ends.first.set_timeout(5ms);
    while (!error) written += ends.first.write_some(block, error);
    ends.first.set_timeout({});
  }
  void call() override { ends.first.send_descriptor(0, std::as_bytes(std::span("x", 1))); }
  task<> async_call() override { co_await ends.first.async_send_descriptor(0, std::as_bytes(std::span("x", 1))); }
  void complete(std::chrono::nanoseconds) override {
    std::vector<std::byte> block(written);
    ends.second.read_exactly(block);
  }
  void settle(bool happened) override {
    ends.first.shutdown_write();
    std::array<std::byte, 4> rest;
    net::descriptor got;
    EXPECT_EQ(ends.second.receive_descriptor(rest, got), happened ? 1u : 0u);
    EXPECT_EQ(got.is_open(), happened);
  }
};

// Both sides of a datagram's way; each of the calls waits for the other side.
struct receives_a_datagram : subject {
  std::pair<net::unix_datagram, net::unix_datagram> ends = net::unix_datagram::pair();
  std::array<std::byte, 8> buffer;
  std::size_t got = 0;
  void call() override { got = ends.first.receive(buffer).size; }
  task<> async_call() override { got = (co_await ends.first.async_receive(buffer)).size; }
  void complete(std::chrono::nanoseconds) override { ends.second.send(std::as_bytes(std::span("abc", 3))); }
  void settle(bool happened) override {
    if (!happened) call();
    EXPECT_EQ(got, 3u);
  }
};

struct receives_a_unix_datagram_from final : receives_a_datagram {
  std::string from = "?";
  void call() override { got = ends.first.receive_from(buffer, from).size; }
  task<> async_call() override { got = (co_await ends.first.async_receive_from(buffer, from)).size; }
  void settle(bool happened) override {
    receives_a_datagram::settle(happened);
    EXPECT_EQ(from, "");
  }
};

struct receives_a_udp_datagram_from final : subject {
  net::udp_socket in = net::udp_socket::bind("127.0.0.1:0"), out = net::udp_socket::connect(in.local_address());
  std::array<std::byte, 8> buffer;
  net::endpoint from;
  void call() override { in.receive_from(buffer, from); }
  task<> async_call() override { (void)co_await in.async_receive_from(buffer, from); }
  void complete(std::chrono::nanoseconds) override { out.send(std::as_bytes(std::span("abc", 3))); }
  void settle(bool happened) override {
    if (!happened) call();
    EXPECT_EQ(from.to_string(), out.local_address());
  }
};

struct sends_a_datagram : subject {
  net::unix_datagram in = net::unix_datagram::bind("@thrum_datagrams_" + std::to_string(accepts_unix::next_name++));
  net::unix_datagram out = net::unix_datagram::open();
  std::size_t sent = 0, read = 0;
  sends_a_datagram() {
    out.set_peer(in.local_address());
    std::error_code error;
    out.set_timeout(5ms);
    for (; !error; ++sent) out.send({}, error);
    --sent;
    out.set_timeout({});
  }
  void call() override {
    out.send({});
    ++sent;
  }
  task<> async_call() override {
    co_await out.async_send({});
    ++sent;
  }
  void complete(std::chrono::nanoseconds) override { drain(); }
  void settle(bool) override {
    drain();
    EXPECT_EQ(read, sent);  // None lost, none doubled.
  }
  void drain() {
    std::error_code error;
    for (in.set_timeout(2ms); !error; ++read) in.receive({}, error);
    --read;
    in.set_timeout({});
  }
};

struct sends_a_datagram_to_a_name final : sends_a_datagram {
  net::unix_datagram other = net::unix_datagram::open();
  void call() override {
    other.send_to({}, in.local_address());
    ++sent;
  }
  task<> async_call() override {
    co_await other.async_send_to({}, in.local_address());
    ++sent;
  }
};

struct writes_to_a_full_socket : subject {
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

struct waits_for_writability final : writes_to_a_full_socket {
  void call() override { out.wait_writable(); }
  task<> async_call() override { co_await out.async_wait_writable(); }
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
  event begun, let_end;
  fiber runner = spawn([this] {
    call_once(flag, [this] {
      begun.set();
      let_end.wait();
    });
  });
  waits_until_it_was_done_once() { begun.wait(); }
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

struct submits_to_a_full_pool final : subject {
  event go_on;
  std::atomic<int> ran{0};
  worker_pool pool{{.fibers = 1, .queue = 0}};
  submits_to_a_full_pool() {
    pool.submit([this] { go_on.wait(); });
  }
  void call() override {
    pool.submit([this] { ++ran; });
  }
  task<> async_call() override {
    co_await pool.async_submit([this] { ++ran; });
  }
  void complete(std::chrono::nanoseconds) override { go_on.set(); }
  void check_untouched() override {
    go_on.set();
    pool.join();
    EXPECT_EQ(ran, 0);
  }
  void settle(bool happened) override {
    pool.join();
    EXPECT_EQ(ran, happened ? 1 : 0);
  }
};

struct joins_a_pool final : subject {
  event go_on;
  std::atomic<int> ran{0};
  worker_pool pool{{.fibers = 1}};
  joins_a_pool() {
    pool.submit([this] {
      go_on.wait();
      ++ran;
    });
  }
  void call() override { pool.join(); }
  task<> async_call() override { co_await pool.async_join(); }
  void complete(std::chrono::nanoseconds) override { go_on.set(); }
  void check_untouched() override {
    EXPECT_EQ(ran, 0);
    settle(false);
  }
  void settle(bool) override {
    go_on.set();
    pool.join();
    EXPECT_EQ(ran, 1);
  }
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

// Every call that waits; tools/tidylib/waits.py reads this table.
inline const std::vector<kind> kinds{
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
    {"send_datagram", make<sends_a_datagram>()},
    {"unix_send_to", make<sends_a_datagram_to_a_name>()},
    {"receive_datagram", make<receives_a_datagram>()},
    {"unix_receive_from", make<receives_a_unix_datagram_from>()},
    {"udp_receive_from", make<receives_a_udp_datagram_from>()},
    {"unix_accept", make<accepts_unix>()},
    {"receive_descriptor", make<receives_a_descriptor>()},
    {"send_descriptor", make<sends_a_descriptor>()},
    {"tcp_write", make<writes_to_a_full_socket>()},
    {"tcp_wait_writable", make<waits_for_writability>()},
    {"worker_pool_submit", make<submits_to_a_full_pool>()},
    {"worker_pool_join", make<joins_a_pool>()},
};

}  // namespace thrum::test
