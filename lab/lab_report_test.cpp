// Tests of the report: numbers for people, the table, JSON, and the page.

#include <gtest/gtest.h>

#include "lab/histogram.hpp"
#include "lab/report.hpp"

namespace thrum::lab {
namespace {

experiment sample() {
  experiment e;
  e.name = "sample";
  e.question = "is 1 < 2 & 3 > 2?";
  e.columns = {{"model", "model", unit::text}, {"wall_s", "wall", unit::seconds}, {"limit", "stopped by", unit::text}};
  e.rows = {{{"model", "thread"}, {"wall_s", 1.5}, {"limit", "<pid_max>"}, {"curve", {{50.0, 10.0}, {99.0, 200.0}}}},
            {{"model", "fiber"}, {"wall_s", 0.0125}, {"curve", {{50.0, 9.0}, {99.0, 0.0}}}}};
  e.plots = {{plot::kind::bars, "wall_s", "Wall", unit::seconds, true},
             {plot::kind::percentiles, "curve", "Lateness", unit::microseconds, true}};
  e.lessons = {"Fibers are light."};
  return e;
}

TEST(lab_report, numbers_have_three_digits_and_a_unit) {
  EXPECT_EQ(show(1234567.0, unit::count), "1,234,567");
  EXPECT_EQ(show(-1000.0, unit::count), "-1,000");
  EXPECT_EQ(show(999.0, unit::count), "999");
  EXPECT_EQ(show(4710.0, unit::bytes), "4.60 KiB");
  EXPECT_EQ(show(12.3, unit::nanoseconds), "12.3 ns");
  EXPECT_EQ(show(1500.0, unit::microseconds), "1.50 ms");
  EXPECT_EQ(show(0.0125, unit::seconds), "12.5 ms");
  EXPECT_EQ(show(90.0, unit::seconds), "90.0 s");
}

TEST(lab_report, values_that_could_not_be_measured_are_shown_as_a_dash) {
  EXPECT_EQ(show(json::object(), "missing", unit::count), "-");
  EXPECT_EQ(show(json{{"x", nullptr}}, "x", unit::count), "-");
  EXPECT_EQ(show(json{{"x", std::nan("")}}, "x", unit::count), "-");
}

TEST(lab_report, the_table_lines_up) {
  EXPECT_EQ(table_text(sample()),
            "model      wall  stopped by\n"
            "------  -------  ----------\n"
            "thread   1.50 s  <pid_max>\n"
            "fiber   12.5 ms  -\n");
}

TEST(lab_report, json_keeps_the_raw_values) {
  json out = to_json(report{describe_machine(), {sample()}});
  EXPECT_EQ(out["experiments"][0]["rows"][0]["wall_s"], 1.5);
  EXPECT_EQ(out["experiments"][0]["name"], "sample");
  EXPECT_GE(out["machine"]["processors"], 1);
  EXPECT_EQ(json::parse(out.dump()), out);
}

TEST(lab_report, the_page_is_self_contained_and_escapes_text) {
  std::string page = to_html(report{describe_machine(), {sample()}});
  EXPECT_NE(page.find("<svg"), std::string::npos);
  EXPECT_NE(page.find("is 1 &lt; 2 &amp; 3 &gt; 2?"), std::string::npos);
  EXPECT_NE(page.find("&lt;pid_max&gt;"), std::string::npos);
  EXPECT_NE(page.find("prefers-color-scheme: dark"), std::string::npos);
  for (const char* external : {"http:", "https:", "src=", "<script", "@import", "url("})
    EXPECT_EQ(page.find(external), std::string::npos) << external;
  EXPECT_EQ(page.find("nan"), std::string::npos);
}

TEST(lab_report, every_model_has_a_colour_on_light_and_on_dark) {
  std::string page = to_html(report{describe_machine(), {sample()}});
  for (std::string model : {"process", "thread", "pool", "event-loop", "fiber", "fiber-borrow", "task"}) {
    SCOPED_TRACE(model);
    EXPECT_NE(page.find(".m-" + model + " {"), std::string::npos);
    std::size_t light = page.find("--" + model + ": #");
    ASSERT_NE(light, std::string::npos);
    EXPECT_NE(page.find("--" + model + ": #", light + 1), std::string::npos);
  }
}

TEST(lab_report, a_page_without_numbers_is_still_a_page) {
  experiment e = sample();
  e.rows = {{{"model", "thread"}, {"wall_s", 0.0}, {"curve", json::array()}}};
  std::string page = to_html(report{describe_machine(), {e}});
  EXPECT_EQ(page.find("nan"), std::string::npos);
  EXPECT_EQ(page.find("inf"), std::string::npos);
}

TEST(lab_histogram, percentiles_are_within_one_percent) {
  histogram h;
  for (int i = 1; i <= 100'000; ++i) h.add(std::chrono::microseconds(i));
  EXPECT_EQ(h.count(), 100'000u);
  EXPECT_NEAR(h.percentile_us(50), 50'000, 500);
  EXPECT_NEAR(h.percentile_us(99), 99'000, 990);
  EXPECT_NEAR(h.percentile_us(99.9), 99'900, 999);
  EXPECT_DOUBLE_EQ(h.max_us(), 100'000);
}

TEST(lab_histogram, takes_any_duration) {
  histogram h;
  h.add(std::chrono::nanoseconds(-5));
  h.add(std::chrono::nanoseconds(0));
  h.add(std::chrono::hours(10'000));
  EXPECT_EQ(h.count(), 3u);
  EXPECT_DOUBLE_EQ(h.percentile_us(1), 0);
  histogram empty;
  EXPECT_DOUBLE_EQ(empty.percentile_us(50), 0);
  EXPECT_TRUE(empty.curve().empty());
}

}  // namespace
}  // namespace thrum::lab
