// Whether the program's workers would serve.
#pragma once

namespace thrum::detail {

bool program_serves_workers() noexcept;

}  // namespace thrum::detail
