// Queues of events, as fs/notify/inotify has them.
#include "sim/watchers.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <sys/inotify.h>

#include "sim/allocations.hpp"

namespace thrum::sim {
namespace {

constexpr std::size_t events_max = 16'384;  // The kernel's default, of fs.inotify.max_queued_events.

// With its end, and filled up, so that the next event is aligned.
std::size_t room_for(const std::string& name) noexcept {
  constexpr auto unit = sizeof(inotify_event);
  return name.empty() ? 0 : (name.size() + unit) / unit * unit;
}

}  // namespace

watcher::watcher(watchers& all, host_id h, int owner) : all_(all), host_(h), owner_(owner) {
  all_.all_.push_back(this);
}

watcher::~watcher() { std::erase(all_.all_, this); }

int watcher::add(std::uint64_t file, std::uint32_t events) {
  const auto [at, is_new] = watched_.try_emplace(file, watched{last_number_ + 1, 0});
  if (is_new) ++last_number_;
  at->second.events = events;
  return at->second.number;
}

bool watcher::remove(int watch) {
  const auto at = std::ranges::find(watched_, watch, [](const auto& w) { return w.second.number; });
  if (at == watched_.end()) return false;
  watched_.erase(at);
  queue({watch, IN_IGNORED});
  return true;
}

// Not the number of the move, as in the kernel. A watch ends once, so that no two ends are one.
bool watcher::says_the_same(const event& before, const event& e) noexcept {
  return before.watch == e.watch && before.what == e.what && before.name == e.name;
}

void watcher::queue(event e) {
  if (events_.size() >= events_max) {
    if (std::exchange(has_lost_, true)) return;
    e = {-1, IN_Q_OVERFLOW};
  } else if (!events_.empty() && says_the_same(events_.back(), e)) {
    return;
  }
  events_.push_back(std::move(e));
  if (std::ranges::find(all_.told_, owner_) == all_.told_.end()) all_.told_.push_back(owner_);
}

long watcher::read(std::span<std::byte> room) noexcept {
  std::size_t used = 0;
  for (; !events_.empty(); events_.pop_front()) {
    const event& e = events_.front();
    const inotify_event head{
        .wd = e.watch, .mask = e.what, .cookie = e.move, .len = static_cast<std::uint32_t>(room_for(e.name))};
    if (sizeof head + head.len > room.size() - used) break;
    std::memcpy(room.data() + used, &head, sizeof head);
    std::memset(room.data() + used + sizeof head, 0, head.len);
    std::memcpy(room.data() + used + sizeof head, e.name.data(), e.name.size());
    used += sizeof head + head.len;
    if (e.what == IN_Q_OVERFLOW) has_lost_ = false;
  }
  if (used > 0) return static_cast<long>(used);
  errno = events_.empty() ? EAGAIN : EINVAL;
  return -1;
}

void watcher::tell(std::uint64_t file, std::uint32_t what, std::string_view name, std::uint32_t move) {
  const auto at = watched_.find(file);
  if (at != watched_.end() && (at->second.events & what) != 0)
    queue({at->second.number, what, move, std::string(name)});
}

void watcher::end(std::uint64_t file, std::uint32_t why) {
  tell(file, why, {}, 0);
  if (const auto ended = watched_.extract(file)) queue({ended.mapped().number, IN_IGNORED});
}

// That is told whoever watches, whatever for.
void watcher::end_all(std::uint32_t why) {
  for (const auto& [file, w] : std::exchange(watched_, {})) {
    queue({w.number, why});
    queue({w.number, IN_IGNORED});
  }
}

void watchers::tell(std::uint64_t file, std::uint32_t what, std::string_view name, std::uint32_t move) {
  const own_allocations unwatched;
  for (auto* w : all_) w->tell(file, what, name, move);
}

void watchers::end(std::uint64_t file, std::uint32_t why) {
  const own_allocations unwatched;
  for (auto* w : all_) w->end(file, why);
}

void watchers::end_all(host_id h, std::uint32_t why) {
  const own_allocations unwatched;
  for (auto* w : all_)
    if (w->host() == h) w->end_all(why);
}

}  // namespace thrum::sim
