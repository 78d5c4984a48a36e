// select over clauses whose number is known only at run time.
//
//   thrum::select_list all;
//   for (auto& w : workers) all.add(w.results.on_receive([&](auto r) { take(w, r); }));
//   all.add(thrum::after(1s, [] { give_up(); }));
//   std::size_t chosen = all.wait();                // In the order of their addition; or co_await all.async_wait()
//
// The semantics are select's. The list is used once: the values of its send clauses are destroyed with it. It belongs
// to one fiber, task or thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

#include <thrum/select.hpp>

namespace thrum {

class select_list {
 public:
  // Throws std::bad_alloc; and what making the clause throws.
  template <class Clause>
  void add(Clause clause) {
    clauses_.push_back(std::make_unique<any<Clause>>(std::move(clause)));
  }
  std::size_t size() const noexcept { return clauses_.size(); }

  // Waits for one, runs its function and returns its index. A cancellation point, unless a clause is on_cancel().
  // Throws std::logic_error when the list is empty or has been waited for.
  std::size_t wait() {
    prepare();
    return fire(detail::run_select(room()));
  }
  // The same for tasks: co_await it. The clauses' functions must not suspend.
  auto async_wait() { return awaiter(*this); }

 private:
  struct any_clause {
    virtual ~any_clause() = default;
    virtual detail::select_clause describe() = 0;
    virtual void fire(detail::channel_result r) = 0;
  };
  template <class Clause>
  struct any final : any_clause {
    explicit any(Clause&& c) : clause(std::move(c)) {}
    detail::select_clause describe() override { return clause.describe(); }
    void fire(detail::channel_result r) override { clause.fire(r); }
    Clause clause;
  };

  class [[nodiscard]] awaiter : public detail::suspends_task {
   public:
    explicit awaiter(select_list& of) noexcept : of_(of) {}
    bool await_ready() {
      of_.prepare();
      wait_.room = of_.room();
      return detail::begin_select(wait_, timer_);
    }
    std::size_t await_resume() { return of_.fire(detail::end_select(wait_, timer_)); }

   private:
    select_list& of_;
    detail::select_wait wait_{};
    detail::async_timer timer_;
  };

  void prepare() {
    if (clauses_.empty() || !described_.empty())
      throw std::logic_error("thrum: a select_list is waited for once, and has at least one clause");
    order_.resize(2 * clauses_.size());
    nodes_.reset(new node[clauses_.size()]);
    described_.reserve(clauses_.size());
    for (auto& c : clauses_) described_.push_back(c->describe());
  }
  detail::select_room room() noexcept { return {described_.data(), order_.data(), nodes_.get(), clauses_.size()}; }
  std::size_t fire(const detail::select_result& chosen) {
    clauses_[chosen.index]->fire(chosen.result);
    return chosen.index;
  }

  struct node {
    alignas(8) std::byte bytes[sizeof(detail::async_wait::node)];
  };

  std::vector<std::unique_ptr<any_clause>> clauses_;
  std::vector<detail::select_clause> described_;
  std::vector<std::uint16_t> order_;
  std::unique_ptr<node[]> nodes_;
};

}  // namespace thrum
