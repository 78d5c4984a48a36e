// The plots of the HTML page, as inline SVG that takes its colours from the page's style sheet.
#pragma once

#include <string>
#include <string_view>

#include "lab/report.hpp"

namespace thrum::lab {

std::string svg(const plot& p, const experiment& e);

// The style class that gives a model its colour, the same in all plots.
std::string colour_class(std::string_view model);
std::string escaped(std::string_view text);

}  // namespace thrum::lab
