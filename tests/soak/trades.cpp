// The trades. Each is a small server's worth of one concern.
#include "trades.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <exception>
#include <mutex>
#include <span>
#include <system_error>
#include <thread>
#include <utility>

#include <thrum/task.hpp>
#include <thrum/task_scope.hpp>
#include <thrum/task_sleep.hpp>
#include <thrum/thrum.hpp>

#include "lines.hpp"

namespace thrum::soak {
namespace {

using namespace std::chrono_literals;
using generator = std::mt19937_64;

std::chrono::microseconds up_to(std::chrono::microseconds most, generator& r) {
  return std::chrono::microseconds(r() % static_cast<std::uint64_t>(most.count() + 1));
}

// Money is moved between accounts, each with its lock. Whoever is cancelled while he holds locks has moved nothing.
class bank final : public trade {
 public:
  using trade::trade;
  const char* name() const noexcept override { return "bank"; }

  void work() override {
    scope s;
    for (int i = 0; i < 6; ++i)
      s.go([this, r = generator(draw())]() mutable {
        for (;;) transfer(r);
      });
    for (int i = 0; i < 6; ++i) go_in(s, transfer_for_ever(generator(draw())));
    s.join();
  }

  void check() override {
    long total = 0;
    for (auto& a : accounts_) {
      require(a.lock.try_lock(), "bank: a lock is held although nobody works");
      total += a.money;
      a.lock.unlock();
    }
    require(total == long{100} * static_cast<long>(accounts_.size()), "bank: money was made or lost");
  }

 private:
  struct account {
    mutex lock;
    long money = 100;
  };

  std::pair<account*, account*> two(generator& r) {
    const auto i = r() % accounts_.size(), j = (i + 1 + r() % (accounts_.size() - 1)) % accounts_.size();
    return {&accounts_[std::min(i, j)], &accounts_[std::max(i, j)]};
  }

  void move(account& from, account& to, generator& r) {
    const long amount = static_cast<long>(r() % 50) - 25;
    from.money -= amount;
    to.money += amount;
    count();
  }

  void transfer(generator& r) {
    const auto [first, second] = two(r);
    const std::lock_guard hold(first->lock);
    const std::lock_guard hold_too(second->lock);
    if (r() % 8 == 0) this_fiber::sleep_for(up_to(200us, r));
    move(*first, *second, r);
  }

  task<> transfer_for_ever(generator r) {
    for (;;) {
      const auto [first, second] = two(r);
      const auto hold = co_await first->lock.async_scoped_lock();
      const auto hold_too = co_await second->lock.async_scoped_lock();
      if (r() % 8 == 0) co_await async_sleep_for(up_to(200us, r));
      move(*first, *second, r);
    }
  }

  std::array<account, 16> accounts_;
};

// Elements go through a channel, from those who only send to those who select. Nothing is lost or doubled.
class pipeline final : public trade {
 public:
  explicit pipeline(std::uint64_t seed) : trade(seed), elements_(make(draw() % 4)) {}
  const char* name() const noexcept override { return "pipeline"; }

  void work() override {
    scope s;
    for (int i = 0; i < 4; ++i)
      s.go([this, r = generator(draw())]() mutable {
        for (;;) {
          if (elements_.size() > 1000) this_fiber::sleep_for(1ms);  // Of an unbounded one.
          const long n = static_cast<long>(r() % 1000);
          elements_.send(long{n});
          sent_.fetch_add(n + 1, std::memory_order_relaxed);
        }
      });
    for (int i = 0; i < 2; ++i)
      s.go([this, r = generator(draw())]() mutable {
        for (;;) select(elements_.on_receive([&](auto n) { take(*n); }), after(up_to(500us, r), [] {}));
      });
    go_in(s, [](pipeline& p) -> task<> {
      for (;;) p.take(*co_await p.elements_.async_receive());
    }(*this));
    s.join();
  }

  void check() override {
    while (const auto n = elements_.try_receive()) take(*n);
    require(sent_ == received_, "pipeline: elements were lost or doubled");
  }

 private:
  static channel<long> make(std::uint64_t kind) {
    return kind == 0 ? channel<long>(unbounded) : channel<long>(3 * (kind - 1));
  }
  void take(long n) {
    received_.fetch_add(n + 1, std::memory_order_relaxed);
    count();
  }

  channel<long> elements_;
  std::atomic<long> sent_{0}, received_{0};
};

// A server and its clients, some of whom leave in the middle; whatever is answered is what was asked.
class echo final : public trade {
 public:
  using trade::trade;
  const char* name() const noexcept override { return "echo"; }

  void work() override {
    auto listener = net::tcp_listener::bind("127.0.0.1:0");
    const auto address = "127.0.0.1:" + std::to_string(listener.local_port());
    scope s;
    s.go([&] {
      for (;;) {
        std::error_code error;
        auto c = listener.accept(error);
        if (error)
          this_fiber::sleep_for(1ms);  // No descriptors: others will end.
        else
          try {
            s.go([c = std::move(c)]() mutable { serve(c); });
          } catch (const std::system_error& e) {
            if (!no_room(e)) throw;
          }
      }
    });
    for (int i = 0; i < 8; ++i)
      s.go([&, r = generator(draw())]() mutable {
        for (;;) {
          ask(address, r);
          this_fiber::sleep_for(up_to(2ms, r));  // Or the ports are used up within minutes.
        }
      });
    s.join();
  }

  void check() override { require(!wrong_, "echo: an answer is not what was asked"); }

 private:
  static void serve(net::tcp_stream& c) {
    std::array<std::byte, 512> buffer;
    std::error_code error;
    while (const auto n = c.read_some(buffer, error)) {
      if (error) return;
      c.write_all(std::span(buffer).first(n), error);
      if (error) return;
    }
  }

  void ask(const std::string& address, generator& r) {
    std::error_code error;
    auto c = net::tcp_stream::connect(address, 1s, error);
    for (auto left = r() % 20; left > 0 && !error; --left) {
      std::array<std::uint64_t, 100> question, answer{};
      for (auto& q : question) q = r();
      const auto n = 1 + r() % sizeof question;
      c.write_all(std::as_bytes(std::span(question)).first(n), error);
      if (error || r() % 16 == 0) return;  // Leaves.
      const auto answered = std::as_writable_bytes(std::span(answer)).first(n);
      if (c.read_exactly(answered, error) != n || error) return;
      if (!std::equal(answered.begin(), answered.end(), std::as_bytes(std::span(question)).begin())) wrong_ = true;
      count();
    }
  }

  std::atomic<bool> wrong_{false};
};

// Sleeps, deadlines and ticks: none is early.
class sleepers final : public trade {
 public:
  using trade::trade;
  const char* name() const noexcept override { return "sleepers"; }

  void work() override {
    scope s;
    for (int i = 0; i < 50; ++i)
      s.go([this, r = generator(draw())]() mutable {
        for (;;) {
          const auto due = clock::now() + up_to(5ms, r);
          this_fiber::sleep_until(due);
          if (clock::now() < due) early_ = true;
          count();
        }
      });
    s.go([this, r = generator(draw())]() mutable {
      for (;;) {
        ticker every(1us + up_to(2ms, r));
        for (int i = 0; i < 10; ++i) {
          const auto due = every.receive()->time_since_epoch();
          if (due > clock::now().time_since_epoch()) early_ = true;
        }
      }
    });
    s.go([r = generator(draw())]() mutable {
      for (;;) {
        scope limited{.deadline = up_to(2ms, r)};
        try {
          limited.go([] { this_fiber::sleep_for(1h); });
          limited.join();
        } catch (const timed_out&) {
        }
      }
    });
    s.join();
  }

  void check() override { require(!early_, "sleepers: a timer was early"); }

 private:
  std::atomic<bool> early_{false};
};

// Trees of tasks that await their children, and promises that others keep.
class trees final : public trade {
 public:
  using trade::trade;
  const char* name() const noexcept override { return "trees"; }

  void work() override {
    for (;;) {
      const int depth = static_cast<int>(draw() % 8);
      if (spawn(sum(depth)).join() != 1L << depth) wrong_ = true;
      auto kept = async([depth] { return depth; }).then([](int d) { return d + 1; });
      if (kept.get() != depth + 1) wrong_ = true;
      count();
    }
  }

  void check() override { require(!wrong_, "trees: a sum is wrong"); }

 private:
  static task<long> sum(int depth) {
    if (depth == 0) co_return 1;
    auto left = spawn(sum(depth - 1)), right = spawn(sum(depth - 1));
    const long a = co_await left.async_join(), b = co_await right.async_join();
    co_return a + b;
  }

  std::atomic<bool> wrong_{false};
};

// More fibers than there is room for, with more state than fits into one.
class storm final : public trade {
 public:
  using trade::trade;
  const char* name() const noexcept override { return "storm"; }

  void work() override {
    for (;;) {
      scope s;
      std::array<char, 300> ballast{};
      try {
        for (auto left = draw() % 3000; left > 0; --left) {
          started_.fetch_add(1, std::memory_order_relaxed);
          struct ended {
            storm* of;
            explicit ended(storm& s) : of(&s) {}
            ended(ended&& other) noexcept : of(std::exchange(other.of, nullptr)) {}
            ~ended() {
              if (of) of->ended_.fetch_add(1, std::memory_order_relaxed);
            }
          };
          s.go([e = ended(*this), ballast] { this_fiber::sleep_for(std::chrono::milliseconds(1 + ballast[0])); });
        }
      } catch (const std::system_error& e) {
        if (!no_room(e)) throw;
      }
      s.join();
      count();
    }
  }

  void check() override { require(started_ == ended_, "storm: what a fiber held was lost or destroyed twice"); }

 private:
  std::atomic<std::uint64_t> started_{0}, ended_{0};
};

// Code that does not yield: it computes, or blocks its thread.
class hogs final : public trade {
 public:
  using trade::trade;
  const char* name() const noexcept override { return "hogs"; }

  void work() override {
    scope s;
    for (int i = 0; i < 2; ++i)
      s.go([this, i, r = generator(draw())]() mutable {
        for (;;) {
          const auto end = clock::now() + up_to(30ms, r);
          if (i == 0) std::this_thread::sleep_until(end);
          while (clock::now() < end) {
          }
          count();
          this_fiber::sleep_for(up_to(20ms, r));
        }
      });
    s.join();
  }

  void check() override {}
};

}  // namespace

bool no_room(const std::system_error& e) noexcept {
  return e.code() == std::errc::resource_unavailable_try_again || e.code() == std::errc::too_many_files_open ||
         e.code() == std::errc::not_enough_memory;
}

std::vector<std::unique_ptr<trade>> all_trades(std::uint64_t seed, surroundings where) {
  generator r(seed);
  std::vector<std::unique_ptr<trade>> all;
  all.push_back(std::make_unique<bank>(r()));
  all.push_back(std::make_unique<pipeline>(r()));
  all.push_back(std::make_unique<echo>(r()));
  all.push_back(make_lines(r(), where));
  all.push_back(std::make_unique<sleepers>(r()));
  all.push_back(std::make_unique<trees>(r()));
  all.push_back(std::make_unique<storm>(r()));
  if (where == surroundings::real) all.push_back(std::make_unique<hogs>(r()));
  return all;
}

}  // namespace thrum::soak
