// The report as one HTML page that needs nothing else: style, plots and data are inside. Light and dark
// follow the reader's system.

#include <fmt/format.h>

#include "lab/report.hpp"
#include "lab/svg.hpp"

namespace thrum::lab {
namespace {

// The hues of the models keep their distance for colour-blind readers and have a variant for each background.
constexpr const char* style = R"css(
:root { color-scheme: light dark; --back: #fcfcfb; --card: #ffffff; --text: #1c1c1a; --soft: #5c5b57;
  --line: #e3e2dd;
  --process: #8a8880; --thread: #2a78d6; --pool: #4a3aa7; --event-loop: #eb6834; --fiber: #008300;
  --fiber-borrow: #1baf7a; --task: #a3195b; }
@media (prefers-color-scheme: dark) {
  :root { --back: #161615; --card: #1f1f1d; --text: #f2f1ed; --soft: #b0aea6; --line: #383835;
    --process: #9c9a92; --thread: #5598e7; --pool: #9085e9; --event-loop: #ee7d4f; --fiber: #2fae2f;
    --fiber-borrow: #3fcf9a; --task: #d6336c; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1180px; padding: 2rem 1.25rem 4rem; background: var(--back); color: var(--text);
  font: 16px/1.55 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 .3rem; } h2 { font-size: 1.3rem; margin: 2.8rem 0 .2rem; }
h3 { font-size: 1rem; margin: 0 0 .6rem; } h3 small { color: var(--soft); font-weight: normal; }
p { margin: .3rem 0 .8rem; } .soft { color: var(--soft); }
.wide { overflow-x: auto; border: 1px solid var(--line); border-radius: 8px; background: var(--card); }
table { border-collapse: collapse; width: 100%; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { padding: .45rem .8rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
tr:last-child td { border-bottom: 0; } th { color: var(--soft); font-weight: 600; }
th.text, td.text { text-align: left; } td.text { white-space: normal; min-width: 7rem; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr)); gap: 1rem;
  margin: 1rem 0;
  align-items: start; }
figure { margin: 0; padding: 1rem; border: 1px solid var(--line); border-radius: 8px; background: var(--card); }
svg { display: block; width: 100%; height: auto; font-size: 13px; } svg text { fill: var(--text); }
svg .name { text-anchor: end; } svg .tick { fill: var(--soft); font-size: 12px; }
svg .grid { stroke: var(--line); } svg .curve { fill: none; stroke-width: 2; }
.legend { font-size: .88rem; margin: 0 0 .5rem; } .legend span { margin-right: 1rem; white-space: nowrap; }
.legend i { display: inline-block; width: .8em; height: .8em; border-radius: 50%; margin-right: .4em;
  background: currentColor; }
ul { padding-left: 1.2rem; }
)css";

std::string model_styles() {
  std::string out;
  for (const char* m : {"process", "thread", "pool", "event-loop", "fiber", "fiber-borrow", "task"})
    out +=
        fmt::format(".m-{0} {{ fill: var(--{0}); color: var(--{0}); }} .m-{0} .curve {{ stroke: var(--{0}); }}\n", m);
  return out;
}

const char* align(const column& c) { return c.shown_as == unit::text ? " class=\"text\"" : ""; }

std::string table(const experiment& e) {
  std::string out = "<div class=\"wide\"><table><thead><tr>";
  for (const column& c : e.columns) out += fmt::format("<th{}>{}</th>", align(c), escaped(c.title));
  out += "</tr></thead>\n<tbody>";
  for (const json& row : e.rows) {
    out += "<tr>";
    for (const column& c : e.columns)
      out += fmt::format("<td{}>{}</td>", align(c), escaped(show(row, c.key, c.shown_as)));
    out += "</tr>\n";
  }
  return out + "</tbody></table></div>\n";
}

std::string figures(const experiment& e) {
  std::string out = "<div class=\"plots\">\n";
  for (const plot& p : e.plots)
    if (std::string drawing = svg(p, e); !drawing.empty())
      out += fmt::format("<figure><h3>{}{}</h3>{}</figure>\n", escaped(p.title),
                         p.logarithmic ? " <small>(logarithmic scale)</small>" : "", drawing);
  return out + "</div>\n";
}

std::string section(const experiment& e) {
  std::string out =
      fmt::format("<section id=\"{0}\"><h2>{0}</h2><p class=\"soft\">{1}</p>\n", escaped(e.name), escaped(e.question));
  for (const std::string& l : e.lessons) out += "<p>" + escaped(l) + "</p>\n";
  out += table(e) + figures(e);
  for (const std::string& n : e.notes) out += "<p class=\"soft\">Note: " + escaped(n) + "</p>\n";
  return out + "</section>\n";
}

std::string busy_line(const json& m) {
  double busy = number(m, "busy_before_percent");
  return busy > 20 ? fmt::format("; other programs used {:.0f}% of its processors", busy) : "";
}

std::string machine_line(const json& m) {
  return fmt::format("{} processors ({}), {} of memory, {}, thrum {}, {}{}", m.value("processors", 0),
                     m.value("processor", ""), show(m, "memory_bytes", unit::bytes), m.value("kernel", ""),
                     m.value("thrum", ""), m.value("when", ""), busy_line(m));
}

}  // namespace

std::string to_html(const report& r) {
  std::string body;
  for (const experiment& e : r.experiments) body += section(e);
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
      "<title>thrum lab</title>\n<style>{}{}</style></head>\n<body><h1>thrum lab</h1>\n"
      "<p class=\"soft\">{}</p>\n{}</body></html>\n",
      style, model_styles(), escaped(machine_line(r.machine)), body);
}

}  // namespace thrum::lab
