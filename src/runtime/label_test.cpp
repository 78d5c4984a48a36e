// What label.hpp promises. That dumps and reports show them: tests/crash_report_test.cpp.
#include <thrum/label.hpp>

#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

using list = std::vector<std::pair<std::string, std::string>>;

class label_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, label_test, worker_counts, count_name);

TEST_P(label_test, is_in_force_to_the_end_of_its_block) {
  run([] {
    EXPECT_EQ(find_label("request"), nullptr);
    EXPECT_TRUE(labels().empty());
    {
      const label request("request", "7"), tenant("tenant", "acme");
      this_fiber::yield();
      ASSERT_NE(find_label("request"), nullptr);
      EXPECT_EQ(*find_label("request"), "7");
      EXPECT_EQ(find_label("other"), nullptr);
      EXPECT_EQ(labels(), (list{{"tenant", "acme"}, {"request", "7"}}));
    }
    EXPECT_TRUE(labels().empty());
  });
}

TEST_P(label_test, an_inner_one_hides_an_outer_one_of_the_same_name) {
  run([] {
    const label outer("request", "1"), other("tenant", "acme");
    {
      const label inner("request", "2");
      EXPECT_EQ(*find_label("request"), "2");
      EXPECT_EQ(labels(), (list{{"request", "2"}, {"tenant", "acme"}}));
    }
    EXPECT_EQ(*find_label("request"), "1");
  });
}

TEST_P(label_test, fibers_and_tasks_inherit_it_to_their_end) {
  run([] {
    event gone;
    fiber f;
    task_handle<std::string> t;
    {
      const label request("request", "7");
      f = spawn([&] {
        gone.wait();
        EXPECT_EQ(*find_label("request"), "7");
        const label mine("step", "1");
        EXPECT_EQ(labels().size(), 2u);
      });
      t = spawn([](event& e) -> task<std::string> {
        co_await e.async_wait();
        co_return *find_label("request");
      }(gone));
    }
    gone.set();
    f.join();
    EXPECT_EQ(t.join(), "7");
    EXPECT_TRUE(labels().empty());
  });
}

TEST_P(label_test, mixes_with_context_values) {
  run([] {
    static context_key<int> number;
    const label request("request", "7");
    const context_value n(number, 3);
    const label step("step", "1");
    EXPECT_EQ(number.get(), 3);
    EXPECT_EQ(labels(), (list{{"step", "1"}, {"request", "7"}}));
  });
}

TEST(label, works_on_a_plain_thread) {
  const label request("request", "7");
  EXPECT_EQ(*find_label("request"), "7");
  std::thread([] { EXPECT_EQ(find_label("request"), nullptr); }).join();
}

}  // namespace
}  // namespace thrum
