// Scopes: a node in the cancellation tree, a count of children, their failures, and a timer for the deadline.
#include <thrum/scope.hpp>

#include <atomic>
#include <mutex>

#include "base/assert.hpp"
#include "base/fork.hpp"
#include "runtime/make_task.hpp"
#include "sched/cancel.hpp"
#include "sched/lifecycle.hpp"
#include "sched/park.hpp"
#include "sched/scheduler.hpp"
#include "sched/task_wait.hpp"

namespace thrum::detail {

class scope_core {
 public:
  scope_core(sched::activity& opener, std::chrono::nanoseconds deadline, bool shield);
  ~scope_core() { close(); }

  void join() {
    wait_for_children();
    settle();
  }
  void wait_for_children();
  bool begin_wait(async_wait& w);
  void settle();  // Once all children have ended.
  bool ends_in_a_task_with_children() const noexcept;
  void close() noexcept;
  void cancel(std::uint32_t flags) noexcept;
  void add_child(sched::activity& a);
  void drop_child(sched::activity& a) noexcept;
  void failed(std::exception_ptr failure) noexcept;
  void ended() noexcept;

  // Below it are its children, and what its opener has opened in it.
  static cancel_node* node_of(const void* scope) noexcept {
    return &static_cast<scope_core*>(const_cast<void*>(scope))->node;
  }

  static const char* without_children(const void* scope, const sched::waiter&) noexcept {
    const auto& s = *static_cast<const scope_core*>(scope);
    std::lock_guard held(s.queue.lock);
    return s.children == 0 ? "all of whom have ended" : nullptr;
  }

  bool has(std::uint32_t flags) const noexcept {
    node.lock.touch();
    return node.flags.load(std::memory_order_acquire) & flags;
  }
  std::vector<std::exception_ptr> failures() const;

 private:
  static void on_deadline(sched::timer& t, sched::runnable_batch& out) noexcept;

  // Constant after construction.
  sched::activity& opener;
  cancel_node* const outer;

  // Own synchronisation.
  cancel_node node;
  struct deadline_timer : sched::timer {
    scope_core* scope;
  } timer;

  // Guarded by queue.lock.
  mutable wait_queue queue;
  std::size_t children = 0;
  std::exception_ptr first_;
  std::vector<std::exception_ptr> later_;
  bool closed = false;
};

namespace {

constexpr sched::wait_kind awaited_children{
    .what = "the children of a scope", .needed = &scope_core::node_of, .could_go_on = &scope_core::without_children};

}  // namespace

scope_core::scope_core(sched::activity& opener, std::chrono::nanoseconds deadline, bool shield)
    : opener(opener), outer(opener.active) {
  node.owner = &opener;
  if (shield) node.flags.store(cancel_node::shield, std::memory_order_relaxed);
  sched::attach(*outer, node);
  sched::set_active(opener, node);
  if (deadline == std::chrono::nanoseconds::max()) return;
  timer.scope = this;
  timer.callback = &on_deadline;
  timer.when = detail::deadline_after(deadline);
  sched::runtime_section inside;
  opener.home->arm(timer);
}

// On the worker that serves the timers. Cancelling takes the tree's locks but never blocks.
void scope_core::on_deadline(sched::timer& t, sched::runnable_batch& out) noexcept {
  sched::cancel(static_cast<deadline_timer&>(t).scope->node, cancel_node::cancelled | cancel_node::expired, out);
}

void scope_core::cancel(std::uint32_t flags) noexcept {
  sched::runnable_batch batch;
  sched::cancel(node, flags, batch);
  sched::make_runnable(batch);
}

void scope_core::add_child(sched::activity& a) {
  {
    std::lock_guard held(queue.lock);
    if (closed) throw std::logic_error("thrum: a scope starts no children after join()");
    ++children;
  }
  sched::attach(node, a.own_scope);
  sched::set_active(a, a.own_scope);
}

void scope_core::drop_child(sched::activity& a) noexcept {
  sched::detach(a.own_scope);
  std::lock_guard held(queue.lock);
  --children;
}

void scope_core::failed(std::exception_ptr failure) noexcept {
  {
    std::lock_guard held(queue.lock);
    if (!first_)
      first_ = std::move(failure);
    else
      try {
        later_.push_back(std::move(failure));
      } catch (...) {  // No memory: the first failure is what join() throws.
      }
  }
  cancel(cancel_node::cancelled);
}

// The opener may destroy the scope as soon as it is woken: the lock is released before, and nothing is touched after.
void scope_core::ended() noexcept {
  auto& child = *sched::current_activity();
  if (child.locals) child.locals->end(child.locals);  // They must not outlive the scope either.
  sched::detach(child.own_scope);
  sched::runnable_batch batch;
  {
    std::lock_guard held(queue.lock);
    if (--children == 0) sched::claim_all(queue.waiters, batch);
  }
  sched::make_runnable(batch);
}

// Not a cancellation point: cancelled children are waited for as well.
void scope_core::wait_for_children() {
  sched::waiting w(sched::cancellation::none);
  sched::wait_node node(w);
  {
    std::lock_guard held(queue.lock);
    if (children == 0) return;
    w.open();
    push_back(queue.waiters, node);
  }
  w.park(sched::never, {&awaited_children, this});
}

bool scope_core::begin_wait(async_wait& w) {
  return sched::begin_wait(
      w, nullptr, queue, [this] { return children == 0; }, sched::never, {&awaited_children, this},
      sched::cancellation::none);
}

bool scope_core::ends_in_a_task_with_children() const noexcept {
  if (!sched::current_task()) return false;
  std::lock_guard held(queue.lock);
  return children > 0;
}

void scope_core::settle() {
  close();
  const bool outer_cancelled = outer->flags.load(std::memory_order_acquire) & cancel_node::cancelled;
  std::exception_ptr first;
  {
    std::lock_guard held(queue.lock);
    first = first_;
  }
  if (first) std::rethrow_exception(first);
  if (has(cancel_node::expired)) throw timed_out();
  if (outer_cancelled && !has(cancel_node::shield)) throw cancelled{};
}

void scope_core::close() noexcept {
  {
    std::lock_guard held(queue.lock);
    if (std::exchange(closed, true)) return;
  }
  sched::timer_set::cancel(timer);
  sched::set_active(opener, *outer);
  sched::detach(node);
}

std::vector<std::exception_ptr> scope_core::failures() const {
  std::lock_guard held(queue.lock);
  std::vector<std::exception_ptr> all;
  if (first_) all.push_back(first_);
  all.insert(all.end(), later_.begin(), later_.end());
  return all;
}

// ---------------------------------------------------------------------------------------------------------------

void scope_closer::operator()(scope_core* s) const noexcept {
  s->cancel(cancel_node::cancelled);
  if (s->ends_in_a_task_with_children())
    base::panic(
        "a scope ends in a task while it has children: co_await its async_join() before, or use async_with_scope");
  if (!sched::current_task()) s->wait_for_children();
  delete s;
}

scope_handle open_scope(std::chrono::nanoseconds deadline, bool shield) {
  auto* a = sched::current_activity();
  if (!a) base::refuse_after_fork();
  if (!a) throw std::logic_error("thrum: a scope needs a fiber: open it in one");
  return scope_handle(new scope_core(*a, deadline, shield));
}

void join_scope(scope_core& s) { s.join(); }
bool begin_join_scope(scope_core& s, async_wait& w) { return s.begin_wait(w); }
void end_join_scope(scope_core& s, async_wait& w) {
  end_wait(w, nullptr);
  s.settle();
}
void cancel_scope(scope_core& s) noexcept { s.cancel(cancel_node::cancelled); }
bool scope_cancelled(const scope_core& s) noexcept { return s.has(cancel_node::cancelled); }
bool scope_expired(const scope_core& s) noexcept { return s.has(cancel_node::expired); }
std::vector<std::exception_ptr> scope_failures(const scope_core& s) { return s.failures(); }

unstarted create_child(scope_core& s, std::size_t closure_size, std::size_t closure_align, std::source_location where) {
  const auto u = create_fiber(nullptr, closure_size, closure_align, {}, where);
  try {
    s.add_child(*u.control);
  } catch (...) {
    abandon_fiber(u);
    throw;
  }
  return u;
}

void abandon_child(scope_core& s, unstarted u) noexcept {
  s.drop_child(*u.control);
  abandon_fiber(u);
}

void start_child_task(scope_core& s, void* coroutine, std::source_location where) {
  auto& t = make_task(coroutine, where);
  t.joiner.store(sched::activity::nobody_will_join(), std::memory_order_relaxed);
  try {
    s.add_child(t);
  } catch (...) {
    abandon_task(t);
    throw;
  }
  t.home->start(t);
}

void child_failed(scope_core& s, std::exception_ptr failure) noexcept { s.failed(std::move(failure)); }
void child_ended(scope_core& s) noexcept { s.ended(); }

}  // namespace thrum::detail
