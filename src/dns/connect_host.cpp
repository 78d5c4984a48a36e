// Connecting to a host by its name: its addresses come in while the first of them are tried already.
#include <string>
#include <utility>
#include <vector>

#include <thrum/cancelled.hpp>
#include <thrum/net/resolver.hpp>
#include <thrum/scope.hpp>
#include <thrum/task_scope.hpp>

#include "dns/configuration.hpp"
#include "net/connection_race.hpp"

namespace thrum::net {

// What the search for addresses has in common for fibers and tasks. IPv4 and IPv6 apart is for a name as it is: under
// search domains the two might be found under different ones, and so be two hosts.
class host_search : public address_search {
 public:
  host_search(const resolver& names, std::string host, std::uint16_t port)
      : names_(names), host_(std::move(host)), port_(port) {}

 protected:
  using searches = connection_race::searches;
  static constexpr searches everywhere = connection_race::for_v6 | connection_race::for_v4 | connection_race::elsewhere;

  // Numeric, in the hosts file, or no name at all.
  bool is_known(connection_race& race) const {
    std::error_code error;
    auto known = names_.configuration().look_up(host_, port_, address_family::any, error);
    if (known.empty() && !error) return false;
    race.tell(connection_race::answer{everywhere, std::move(known), error});
    return true;
  }
  // Nobody waits for more, however the search has ended.
  static void tell_cancelled(connection_race& race) {
    race.tell(connection_race::answer{everywhere, {}, std::make_error_code(std::errc::operation_canceled)});
  }
  bool may_be_asked_apart() const noexcept { return names_.configuration().is_asked_first(host_); }
  bool may_be_searched() const noexcept { return names_.configuration().may_be_searched(host_); }
  std::string host_as_it_is() const { return host_.ends_with('.') ? host_ : host_ + '.'; }

  static resolve_options only(address_family family) noexcept { return {.family = family}; }
  static searches ended(address_family family) noexcept {
    return family == address_family::v6 ? connection_race::for_v6 : connection_race::for_v4;
  }
  static bool is_not_there(const std::error_code& error) noexcept {
    return error == dns_errc::no_such_host || error == dns_errc::no_such_record;
  }

  const resolver& names_;
  const std::string host_;
  const std::uint16_t port_;
};

// -----------------------------------------------------------------------------------------------------------------

class host_search_by_fibers final : public host_search {
 public:
  using host_search::host_search;
  void start(scope& children, connection_race& race) override {
    if (!is_known(race)) children.go([this, &race] { search(race); });
  }

 private:
  void search(connection_race& race) const {
    try {
      look_up(race);
    } catch (const cancelled&) {
      tell_cancelled(race);
    }
  }

  void look_up(connection_race& race) const {
    if (may_be_asked_apart() && (found_apart(race) || !may_be_searched())) return;
    std::error_code error;
    auto found = names_.resolve(host_, port_, {}, error);
    race.tell(connection_race::answer{everywhere, std::move(found), error});
  }

  // The search is over with that, unless neither is there.
  bool found_apart(connection_race& race) const {
    std::error_code v6, v4;
    scope both;
    both.go([&] { ask(race, address_family::v6, v6); });
    both.go([&] { ask(race, address_family::v4, v4); });
    both.join();
    if (may_be_searched() && is_not_there(v6) && is_not_there(v4)) return false;
    race.tell(connection_race::answer{connection_race::elsewhere, {}, v4 ? v4 : v6});
    return true;
  }

  void ask(connection_race& race, address_family family, std::error_code& error) const {
    auto found = names_.resolve(host_as_it_is(), port_, only(family), error);
    race.tell(connection_race::answer{ended(family), std::move(found), {}});
  }
};

// -----------------------------------------------------------------------------------------------------------------

class host_search_by_tasks final : public host_search {
 public:
  using host_search::host_search;
  void start(scope& children, connection_race& race) override {
    if (!is_known(race)) go_in(children, search(race));
  }

 private:
  // It has a name, since it is kept in the frame of a coroutine.
  struct questions {
    const host_search_by_tasks& of;
    connection_race& race;
    std::error_code& v6;
    std::error_code& v4;
    task<> operator()(scope& both) const { return of.start_both(both, *this); }
  };

  task<> search(connection_race& race) const {
    try {
      co_await look_up(race);
    } catch (const cancelled&) {
      tell_cancelled(race);
    }
  }

  task<> look_up(connection_race& race) const {
    bool over = false;
    if (may_be_asked_apart()) over = co_await found_apart(race) || !may_be_searched();
    if (over) co_return;
    std::error_code error;
    auto found = co_await names_.async_resolve(host_, port_, resolve_options{}, error);
    race.tell(connection_race::answer{everywhere, std::move(found), error});
  }

  task<bool> found_apart(connection_race& race) const {
    std::error_code v6, v4;
    co_await async_with_scope(questions{*this, race, v6, v4});
    if (may_be_searched() && is_not_there(v6) && is_not_there(v4)) co_return false;
    race.tell(connection_race::answer{connection_race::elsewhere, {}, v4 ? v4 : v6});
    co_return true;
  }

  task<> start_both(scope& both, questions q) const {
    go_in(both, ask(q.race, address_family::v6, q.v6));
    go_in(both, ask(q.race, address_family::v4, q.v4));
    co_return;
  }

  task<> ask(connection_race& race, address_family family, std::error_code& error) const {
    auto found = co_await names_.async_resolve(host_as_it_is(), port_, only(family), error);
    race.tell(connection_race::answer{ended(family), std::move(found), {}});
  }
};

// -----------------------------------------------------------------------------------------------------------------

namespace {

constexpr auto all_searches = connection_race::for_v6 | connection_race::for_v4 | connection_race::elsewhere;

std::string spelled(std::string_view host, std::uint16_t port) {
  return " to " + std::string(host) + ":" + std::to_string(port);
}

}  // namespace

tcp_stream connect(const resolver& names, std::string_view host, std::uint16_t port, const connect_options& options,
                   std::error_code& error) {
  connection_race race(options, all_searches);
  host_search_by_fibers search(names, std::string(host), port);
  run_attempts(race, &search);
  return race.finish(error);
}

tcp_stream connect(const resolver& names, std::string_view host, std::uint16_t port, const connect_options& options) {
  std::error_code error;
  connection_race race(options, all_searches);
  host_search_by_fibers search(names, std::string(host), port);
  run_attempts(race, &search);
  auto stream = race.finish(error);
  if (error) raise_connect_error(error, spelled(host, port), race);
  return stream;
}

task<tcp_stream> async_connect(resolver names, std::string host, std::uint16_t port, connect_options options,
                               std::error_code& error) {
  connection_race race(options, all_searches);
  host_search_by_tasks search(names, host, port);
  co_await async_run_attempts(race, &search);
  co_return race.finish(error);
}

task<tcp_stream> async_connect(resolver names, std::string host, std::uint16_t port, connect_options options) {
  std::error_code error;
  connection_race race(options, all_searches);
  host_search_by_tasks search(names, host, port);
  co_await async_run_attempts(race, &search);
  auto stream = race.finish(error);
  if (error) raise_connect_error(error, spelled(host, port), race);
  co_return stream;
}

}  // namespace thrum::net
