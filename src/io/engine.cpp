// What io_engine.hpp promises.
#include "io/engine.hpp"

#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>

#include "io/epoll_poller.hpp"
#include "io/uring_poller.hpp"

namespace thrum {

const char* to_string(io_engine_kind k) noexcept {
  switch (k) {
    case io_engine_kind::automatic:
      return "automatic";
    case io_engine_kind::epoll:
      return "epoll";
    case io_engine_kind::io_uring:
      break;
  }
  return "io_uring";
}

namespace io {
namespace {

io_engine_kind parse(std::string_view name) {
  for (auto k : {io_engine_kind::automatic, io_engine_kind::epoll, io_engine_kind::io_uring})
    if (name == to_string(k)) return k;
  throw std::invalid_argument("thrum: THRUM_IO_ENGINE is '" + std::string(name) +
                              "'; it must be automatic, epoll or io_uring");
}

}  // namespace

io_engine_choice choose_engine(io_engine_kind asked, const char* environment) {
  const bool overridden = environment && *environment;
  const auto wish = overridden ? parse(environment) : asked;
  if (wish == io_engine_kind::automatic) return {io_engine_kind::epoll, "the automatic choice"};
  if (wish == io_engine_kind::io_uring)
    if (const char* obstacle = uring_obstacle())
      throw std::system_error(std::make_error_code(std::errc::not_supported),
                              std::string("thrum: io_uring was asked for by ") +
                                  (overridden ? "THRUM_IO_ENGINE" : "runtime_options") + ", but " + obstacle);
  return {wish, overridden ? "asked for by THRUM_IO_ENGINE" : "asked for by runtime_options"};
}

std::unique_ptr<sched::poller> make_poller(io_engine_kind chosen) {
  return chosen == io_engine_kind::io_uring ? make_uring_poller() : make_epoll_poller();
}

}  // namespace io
}  // namespace thrum
