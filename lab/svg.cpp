// Two kinds of plot: horizontal bars, one per row; and curves of percentiles, one per row.
//
// Both have a linear or logarithmic value axis. The percentile axis counts nines (0, 90, 99, 99.9), because
// that is how tails are read. Every mark has a tooltip with its exact value.

#include "lab/svg.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

namespace thrum::lab {
namespace {

constexpr double page_width = 640;

// Maps values to 0…1.
class scale {
 public:
  scale(double low, double high, bool logarithmic) : logarithmic_(logarithmic) {
    low_ = place(low);
    high_ = std::max(place(high), low_ + 1e-9);
  }
  double operator()(double v) const { return std::clamp((place(v) - low_) / (high_ - low_), 0.0, 1.0); }

 private:
  double place(double v) const { return logarithmic_ ? std::log10(std::max(v, 1e-3)) : v; }
  bool logarithmic_;
  double low_ = 0, high_ = 1;
};

std::vector<const json*> rows_of(const plot& p, const experiment& e) {
  std::vector<const json*> rows;
  for (const json& row : e.rows)
    if (row.contains(p.key) && (p.only_variant.empty() || row.value("variant", "") == p.only_variant))
      rows.push_back(&row);
  return rows;
}

// A logarithmic bar has no natural zero: it starts a decade below the least value.
scale bar_scale(const plot& p, const std::vector<const json*>& rows) {
  double low = 1e300;
  double high = 0;
  for (const json* row : rows) {
    double v = number(*row, p.key);
    high = std::max(high, v);
    if (v > 0) low = std::min(low, v);
  }
  if (!p.logarithmic) return scale(0, high, false);
  return scale(std::pow(10, std::floor(std::log10(std::min(low, 1e299)) - 0.3)), high, true);
}

std::string bar(const json& row, const plot& p, const scale& length, double y) {
  constexpr double left = 150;
  constexpr double longest = page_width - left - 100;
  double v = number(row, p.key);
  double width = v > 0 ? std::max(2.0, length(v) * longest) : 0;
  std::string value = show(v, p.shown_as);
  return fmt::format(
      "<g><title>{0}: {1}</title><text class=\"name\" x=\"{2}\" y=\"{3}\">{0}</text>"
      "<rect class=\"{4}\" x=\"{5}\" y=\"{6}\" width=\"{7:.1f}\" height=\"18\" rx=\"3\"/>"
      "<text class=\"value\" x=\"{8:.1f}\" y=\"{3}\">{1}</text></g>\n",
      escaped(label(row)), escaped(value), left - 10, y + 13, colour_class(row.value("model", "")), left, y, width,
      left + width + 8);
}

std::string bars(const plot& p, const std::vector<const json*>& rows) {
  scale length = bar_scale(p, rows);
  std::string marks;
  double y = 4;
  for (const json* row : rows) {
    marks += bar(*row, p, length, y);
    y += 26;
  }
  return fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">\n{}</svg>", page_width, y + 2,
                     escaped(p.title), marks);
}

// The frame of a percentile plot and its two axes.
struct frame {
  static constexpr double left = 74, top = 10, width = 540, height = 250;
  scale values;
  double x(double percentile) const {
    constexpr double nines_max = 3;
    return left + width * std::min(-std::log10(1 - percentile / 100), nines_max) / nines_max;
  }
  double y(double v) const { return top + height * (1 - values(v)); }
};

struct range {
  double low = 1e300, high = 0;
};

range range_of(const plot& p, const std::vector<const json*>& rows) {
  range r;
  for (const json* row : rows)
    for (const json& point : (*row)[p.key]) {
      double v = std::max(point[1].get<double>(), 1.0);
      r = {std::min(r.low, v), std::max(r.high, v)};
    }
  if (p.logarithmic) r = {std::pow(10, std::floor(std::log10(r.low))), std::pow(10, std::ceil(std::log10(r.high)))};
  if (!p.logarithmic) r.low = 0;
  return r;
}

std::string percentile_ticks(const frame& f) {
  std::string out;
  for (double p : {0.0, 50.0, 75.0, 90.0, 99.0, 99.9})
    out += fmt::format(
        "<line class=\"grid\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1}\" y2=\"{2}\"/>"
        "<text class=\"tick\" text-anchor=\"middle\" x=\"{0:.1f}\" y=\"{3}\">{4}%</text>\n",
        f.x(p), f.top, f.top + f.height, f.top + f.height + 18, p);
  return out;
}

std::string value_ticks(const frame& f, const range& r, const plot& p) {
  std::string out;
  double step = p.logarithmic ? 10 : r.high / 5;
  for (double v = r.low; v <= r.high * 1.001; v = p.logarithmic ? v * step : v + step)
    out += fmt::format(
        "<line class=\"grid\" x1=\"{0}\" x2=\"{1}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\"/>"
        "<text class=\"tick\" text-anchor=\"end\" x=\"{3}\" y=\"{4:.1f}\">{5}</text>\n",
        f.left, f.left + f.width, f.y(v), f.left - 8, f.y(v) + 4, show(v, p.shown_as));
  return out;
}

std::string curve(const json& row, const plot& p, const frame& f) {
  std::string path;
  std::string dots;
  for (const json& point : row[p.key]) {
    double percentile = point[0];
    double v = point[1];
    path += fmt::format("{}{:.1f},{:.1f}", path.empty() ? "M" : " L", f.x(percentile), f.y(v));
    dots += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3.5\"><title>{}: {}% within {}</title></circle>",
                        f.x(percentile), f.y(v), escaped(label(row)), percentile, show(v, p.shown_as));
  }
  return fmt::format("<g class=\"{}\"><path class=\"curve\" d=\"{}\"/>{}</g>\n", colour_class(row.value("model", "")),
                     path, dots);
}

std::string legend(const std::vector<const json*>& rows) {
  std::string out = "<p class=\"legend\">";
  for (const json* row : rows)
    out += fmt::format("<span><i class=\"{}\"></i>{}</span> ", colour_class(row->value("model", "")),
                       escaped(label(*row)));
  return out + "</p>";
}

std::string percentiles(const plot& p, const std::vector<const json*>& rows) {
  range r = range_of(p, rows);
  frame f{scale(r.low, r.high, p.logarithmic)};
  std::string marks = percentile_ticks(f) + value_ticks(f, r, p);
  for (const json* row : rows) marks += curve(*row, p, f);
  return fmt::format("{}<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">\n{}</svg>", legend(rows), page_width,
                     f.top + f.height + 26, escaped(p.title), marks);
}

}  // namespace

std::string escaped(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '"')
      out += "&quot;";
    else
      out += c;
  }
  return out;
}

std::string colour_class(std::string_view model) { return "m-" + std::string(model); }

std::string svg(const plot& p, const experiment& e) {
  std::vector<const json*> rows = rows_of(p, e);
  if (rows.empty()) return "";
  return p.drawn_as == plot::kind::bars ? bars(p, rows) : percentiles(p, rows);
}

}  // namespace thrum::lab
