// The clause for an end.
#include <thrum/select_end.hpp>

#include <system_error>

#include "sched/activity.hpp"

namespace thrum::detail {

select_clause describe_end(sched::activity* a) {
  if (!a) throw std::system_error(std::make_error_code(std::errc::invalid_argument), "thrum: select: not joinable");
  return {.kind = clause_kind::end, .ended = a};
}

}  // namespace thrum::detail
