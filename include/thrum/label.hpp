// Labels: what dumps and reports say about a fiber or task besides its name: which request, which tenant.
//
//   void serve(const request& r) {
//     const thrum::label id("request", r.id), who("tenant", r.tenant);      // In force to the end of the block,
//     thrum::for_each_concurrent(r.parts, 8, handle);                       // and in all that is started meanwhile.
//   }
//
// A dump then shows: fiber 514 {tenant=acme, request=4711} (spawned at …) waits for …, with names and values cut to 100
// bytes each.
//
// A label is a context_value (context_value.hpp) whose value is text: the same rules say where it is in force, it costs
// the same, and fibers, tasks and plain threads can have it. An inner label hides an outer one of the same name. None
// of the calls suspends.
//
// The idea is that of the labels of Go's runtime/pprof.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace thrum {

namespace detail {
struct context_node;
}

// A local variable: labels end in the reverse order of their beginning and in the activity that made them, or the
// process ends with one clear sentence.
class [[nodiscard]] label {
 public:
  label(std::string name, std::string value);  // Throws std::bad_alloc.
  ~label();
  label(const label&) = delete;
  label& operator=(const label&) = delete;

 private:
  detail::context_node* node_;
};

// The value of the innermost label of this name; null when none is in force. Valid as long as that is in force for the
// caller.
const std::string* find_label(std::string_view name) noexcept;

// All labels in force for the caller, names with values, the innermost first; those that are hidden are left out.
std::vector<std::pair<std::string, std::string>> labels();

}  // namespace thrum
