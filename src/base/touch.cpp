// Who listens to touches.
#include <thrum/detail/touch.hpp>

namespace thrum::detail {

constinit std::atomic<touch_listener*> listens_to_touches{nullptr};

}  // namespace thrum::detail
