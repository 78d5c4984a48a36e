// In place of call_ring.cpp where there is no liburing.
#include "blocking/call_ring.hpp"

namespace thrum::detail {

static constinit call_ring no_ring;

call_ring& the_call_ring() noexcept { return no_ring; }

bool call_ring::submit(ring_request&) noexcept { return false; }
bool call_ring::withdraw(ring_request&) noexcept { return false; }
void call_ring::add_to(blocking_statistics&) noexcept {}
void call_ring::end_thread() noexcept {}
ring_choice call_ring::choice() noexcept { return {false, "this library was built without it (THRUM_URING)"}; }

}  // namespace thrum::detail
