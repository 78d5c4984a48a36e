// The part of a server that knows neither its listener nor its handler.
#include <thrum/net/server.hpp>

#include <algorithm>
#include <mutex>
#include <stdexcept>

namespace thrum::detail {
namespace {

std::ptrdiff_t places_for(std::size_t max_connections) noexcept {
  const auto most = static_cast<std::size_t>(counting_semaphore<>::max());
  return static_cast<std::ptrdiff_t>(std::clamp<std::size_t>(max_connections, 1, most));
}

// The process or the machine has no room now, and may have some soon.
bool may_pass(const std::error_code& e) noexcept {
  return e == std::errc::too_many_files_open || e == std::errc::too_many_files_open_in_system ||
         e == std::errc::no_buffer_space || e == std::errc::not_enough_memory;
}

}  // namespace

server_state::server_state(net::server_options&& options)
    : on_failure_(std::move(options.on_failure)), places_(places_for(options.max_connections)) {}

// Whichever of these two takes the lock second sees what the other one has done.
bool server_state::begin_serving() {
  {
    std::lock_guard held(lock_);
    if (begun_) throw std::logic_error("thrum: a server serves once");
    begun_ = true;
  }
  if (!stopping_.is_set()) return true;
  ended_.set();
  return false;
}

bool server_state::stop() noexcept {
  stopping_.set();
  std::lock_guard held(lock_);
  return begun_;
}

void server_state::connection_ends(std::exception_ptr failure, bool was_cancelled) noexcept {
  if (failure) report(failure);
  {
    std::lock_guard held(lock_);
    ++(failure ? report_.failed : counter(was_cancelled));
    if (failure && !report_.first_failure) report_.first_failure = std::move(failure);
  }
  places_.release();
  active_.done();
}

std::uint64_t& server_state::counter(bool was_cancelled) noexcept {
  if (was_cancelled || cancelling_.is_set()) return report_.cancelled;
  return stopping_.is_set() ? report_.drained : report_.served;
}

bool server_state::pauses_for(const std::error_code& error) {
  places_.release();
  if (!may_pass(error)) raise_transfer(error, "thrum: serve: accept");
  report(std::make_exception_ptr(std::system_error(error, "thrum: serve: accept")));
  return true;
}

void server_state::report(const std::exception_ptr& failure) const noexcept {
  if (on_failure_) on_failure_(failure);
}

net::server_report server_state::numbers() const {
  std::lock_guard held(lock_);
  return report_;
}

}  // namespace thrum::detail
