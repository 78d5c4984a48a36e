// Connecting to whichever of several endpoints answers first, and the twins for tasks.
#include <thrum/net/connect.hpp>

#include "net/connection_race.hpp"

namespace thrum::net {

tcp_stream connect(std::span<const endpoint> to, const connect_options& options, std::error_code& error) {
  connection_race race(options, connection_race::none);
  race.add(to);
  run_attempts(race, nullptr);
  return race.finish(error);
}

tcp_stream connect(std::span<const endpoint> to, const connect_options& options) {
  std::error_code error;
  connection_race race(options, connection_race::none);
  race.add(to);
  run_attempts(race, nullptr);
  auto stream = race.finish(error);
  if (error) raise_connect_error(error, "", race);
  return stream;
}

task<tcp_stream> async_connect(std::vector<endpoint> to, connect_options options, std::error_code& error) {
  connection_race race(options, connection_race::none);
  race.add(to);
  co_await async_run_attempts(race, nullptr);
  co_return race.finish(error);
}

task<tcp_stream> async_connect(std::vector<endpoint> to, connect_options options) {
  std::error_code error;
  connection_race race(options, connection_race::none);
  race.add(to);
  co_await async_run_attempts(race, nullptr);
  auto stream = race.finish(error);
  if (error) raise_connect_error(error, "", race);
  co_return stream;
}

}  // namespace thrum::net
