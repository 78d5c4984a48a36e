// Who is tried when, and how it ends.
#include "net/connection_race.hpp"

#include <algorithm>
#include <exception>
#include <mutex>
#include <utility>

#include <sys/socket.h>

#include <thrum/cancelled.hpp>
#include <thrum/task_scope.hpp>

#include "net/address.hpp"

namespace thrum::net {
namespace {

bool is_v6(const endpoint& e) noexcept { return e.to_address().family() == AF_INET6; }

std::int64_t limit_of(std::chrono::nanoseconds timeout) noexcept {
  return timeout.count() > 0 ? detail::deadline_after(timeout) : detail::never;
}

}  // namespace

connection_race::connection_race(const connect_options& options, searches under_way)
    : options_(options), deadline_ns_(limit_of(options.timeout)), under_way_(under_way) {}

// The family of the first address comes first.
void connection_race::add(std::span<const endpoint> found) {
  if (!any_tried_ && all_tried() && !found.empty()) v6_is_next_ = is_v6(found.front());
  for (const auto& e : found) (is_v6(e) ? v6_ : v4_).push_back(e);
}

bool connection_race::goes_on() const noexcept {
  if (winner_ || cancelled_ || detail::now_ns() >= deadline_ns_) return false;
  return running_ > 0 || under_way_ != none || !all_tried();
}

std::optional<endpoint> connection_race::next_to_try() {
  if (all_tried() || detail::now_ns() < next_attempt_ns_) return {};
  auto& preferred = v6_is_next_ ? v6_ : v4_;
  auto& other = v6_is_next_ ? v4_ : v6_;
  auto& from = preferred.empty() ? other : preferred;
  const endpoint chosen = from.front();
  from.pop_front();
  v6_is_next_ = !is_v6(chosen);
  any_tried_ = true;
  ++running_;
  next_attempt_ns_ = detail::deadline_after(options_.attempt_delay);
  return chosen;
}

clock::time_point connection_race::wakes_at() const noexcept {
  const auto ns = all_tried() ? deadline_ns_ : std::min(deadline_ns_, next_attempt_ns_);
  return clock::time_point(clock::duration(ns));
}

void connection_race::tell(report r) {
  {
    std::lock_guard held(lock_);
    reports_.push_back(std::move(r));
  }
  told.set();
}

// Reset first: what is told from now on is either taken below, or sets it again.
void connection_race::take_reports() {
  told.reset();
  std::vector<report> taken;
  {
    std::lock_guard held(lock_);
    taken.swap(reports_);
  }
  for (auto& r : taken) std::visit([this](auto&& what) { note(std::move(what)); }, std::move(r));
}

void connection_race::note(attempt a) {
  --running_;
  if (!a.error) {
    if (!winner_) winner_ = std::move(a.stream);
    return;
  }
  failures_.emplace_back(a.to, a.error);
  next_attempt_ns_ = 0;
}

// IPv6 is preferred, also when its addresses come a little later.
void connection_race::note(answer a) {
  const bool first = all_tried();
  under_way_ &= ~a.ended;
  if (!search_error_) search_error_ = a.error;
  add(a.found);
  if (any_tried_ || all_tried()) return;
  const bool may_wait = v6_.empty() && (under_way_ & for_v6) != 0;
  v6_is_next_ = !v6_.empty();
  if (!may_wait)
    next_attempt_ns_ = 0;
  else if (first)
    next_attempt_ns_ = detail::deadline_after(options_.resolution_delay);
}

std::error_code connection_race::why_not() const noexcept {
  if (cancelled_) return std::make_error_code(std::errc::operation_canceled);
  if (detail::now_ns() >= deadline_ns_) return std::make_error_code(std::errc::timed_out);
  if (!failures_.empty()) return failures_.back().second;
  return search_error_ ? search_error_ : std::make_error_code(std::errc::invalid_argument);
}

tcp_stream connection_race::finish(std::error_code& error) {
  error.clear();
  if (winner_) return std::move(*winner_);
  error = why_not();
  return {};
}

std::string connection_race::failures_in_words() const {
  std::string words;
  for (const auto& [to, error] : failures_)
    words += (words.empty() ? "" : "; ") + to.to_string() + ": " + error.message();
  return words;
}

// ---------------------------------------------------------------------------------------------------------------
void attempt_connection(connection_race& race, const endpoint& to) {
  std::error_code error;
  auto stream = tcp_stream::connect(to, {}, error);
  race.tell(connection_race::attempt{to, std::move(stream), error});
}

void run_attempts(connection_race& race, address_search* search) {
  scope children;
  if (search) search->start(children, race);
  while (race.goes_on()) {
    if (const auto to = race.next_to_try()) {
      children.go([&race, to = *to] { attempt_connection(race, to); });
      continue;
    }
    try {
      race.told.wait_until(race.wakes_at());
    } catch (const cancelled&) {
      race.cancel();
    }
    race.take_reports();
  }
  // A failure of a child, want of memory say, has cancelled the scope.
  if (const auto failures = children.failures(); !failures.empty()) std::rethrow_exception(failures.front());
}

// ---------------------------------------------------------------------------------------------------------------

task<> async_attempt_connection(connection_race& race, endpoint to) {
  std::error_code error;
  auto stream = co_await tcp_stream::async_connect(to, {}, error);
  race.tell(connection_race::attempt{to, std::move(stream), error});
}

task<> async_run_attempts_in(scope& children, connection_race& race, address_search* search) {
  if (search) search->start(children, race);
  while (race.goes_on()) {
    if (const auto to = race.next_to_try()) {
      go_in(children, async_attempt_connection(race, *to));
      continue;
    }
    try {
      co_await race.told.async_wait_until(race.wakes_at());
    } catch (const cancelled&) {
      race.cancel();
    }
    race.take_reports();
  }
  children.cancel();
}

// It has a name, since it is kept in the frame of a coroutine.
struct attempts_in_scope {
  connection_race& race;
  address_search* search;
  task<> operator()(scope& children) const { return async_run_attempts_in(children, race, search); }
};

task<> async_run_attempts(connection_race& race, address_search* search) {
  try {
    co_await async_with_scope(attempts_in_scope{race, search});
  } catch (const cancelled&) {
    race.cancel();  // From outside. Who has won by then has won.
  }
}

void raise_connect_error(const std::error_code& error, const std::string& to, const connection_race& race) {
  if (error == std::errc::operation_canceled) throw cancelled{};
  const auto failures = race.failures_in_words();
  throw std::system_error(error, "thrum: cannot connect" + to + (failures.empty() ? "" : " (" + failures + ")"));
}

}  // namespace thrum::net
