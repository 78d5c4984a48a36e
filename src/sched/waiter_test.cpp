// The waiter's word: each transition, and the races in which exactly one may win.
#include "sched/waiter.hpp"

#include <atomic>
#include <barrier>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace thrum::sched {
namespace {

constexpr auto woken = claim_code::first_clause;

class waiter_word : public ::testing::Test {
 protected:
  waiter w{waiter_kind::fiber};
};

TEST_F(waiter_word, is_closed_at_first_and_cannot_be_claimed) {
  EXPECT_EQ(w.code(), claim_code::closed);
  EXPECT_EQ(w.claim(woken), claim_result::too_late);
  EXPECT_EQ(w.claim_cancellable(w.word()), claim_result::too_late);
  EXPECT_FALSE(w.begin_inspection());
  EXPECT_FALSE(w.publish_parked());
}

TEST_F(waiter_word, claimed_before_it_parks_need_not_be_resumed) {
  w.open_episode(true);
  EXPECT_FALSE(w.claimed());
  EXPECT_EQ(w.claim(woken), claim_result::won);
  EXPECT_TRUE(w.claimed());
  EXPECT_EQ(w.code(), woken);
  EXPECT_FALSE(w.publish_parked());
}

TEST_F(waiter_word, claimed_while_parked_must_be_resumed_by_the_claimer) {
  w.open_episode(true);
  EXPECT_TRUE(w.publish_parked());
  EXPECT_EQ(w.claim(clause_code(7)), claim_result::resume);
  EXPECT_EQ(w.code(), clause_code(7));
  EXPECT_EQ(clause_index(w.code()), 7u);
}

TEST_F(waiter_word, is_claimed_only_once) {
  w.open_episode(true);
  EXPECT_EQ(w.claim(woken), claim_result::won);
  EXPECT_EQ(w.claim(clause_code(1)), claim_result::too_late);
  EXPECT_EQ(w.code(), woken);
}

TEST_F(waiter_word, after_closing_is_not_claimed_by_latecomers) {
  const auto episode = w.open_episode(true);
  w.claim(woken);
  w.close_episode();
  EXPECT_EQ(w.code(), claim_code::closed);
  EXPECT_EQ(w.claim(woken), claim_result::too_late);
  EXPECT_EQ(w.claim_episode(episode, claim_code::timed_out), claim_result::too_late);
}

TEST_F(waiter_word, a_timer_of_an_earlier_episode_cannot_hit_a_later_one) {
  const auto first = w.open_episode(true);
  w.claim(woken);
  w.close_episode();
  const auto second = w.open_episode(true);
  EXPECT_EQ(w.claim_episode(first, claim_code::timed_out), claim_result::too_late);
  EXPECT_FALSE(w.claimed());
  EXPECT_EQ(w.claim_episode(second, claim_code::timed_out), claim_result::won);
}

TEST_F(waiter_word, the_episode_is_told_by_its_number_also_once_parked) {
  const auto episode = w.open_episode(true);
  EXPECT_TRUE(w.publish_parked());
  EXPECT_EQ(w.claim_episode(episode, claim_code::timed_out), claim_result::resume);
}

TEST_F(waiter_word, only_cancellable_episodes_are_cancelled) {
  w.open_episode(false);
  EXPECT_EQ(w.claim_cancellable(w.word()), claim_result::too_late);
  EXPECT_FALSE(w.claimed());
  w.claim(woken);
  w.close_episode();
  w.open_episode(true);
  EXPECT_EQ(w.claim_cancellable(w.word()), claim_result::won);
  EXPECT_EQ(w.code(), claim_code::cancelled);
}

TEST_F(waiter_word, a_canceller_that_read_an_earlier_word_is_too_late) {
  w.open_episode(true);
  const auto seen = w.word();
  w.claim(woken);
  w.close_episode();
  w.open_episode(true);
  EXPECT_EQ(w.claim_cancellable(seen), claim_result::too_late);
}

TEST_F(waiter_word, is_inspected_only_while_parked_and_by_one_at_a_time) {
  w.open_episode(true);
  EXPECT_FALSE(w.begin_inspection());
  w.publish_parked();
  EXPECT_TRUE(w.begin_inspection());
  EXPECT_FALSE(w.begin_inspection());
  EXPECT_EQ(w.end_inspection(), claim_result::won);
  EXPECT_TRUE(w.begin_inspection());
  EXPECT_EQ(w.end_inspection(), claim_result::won);
  EXPECT_EQ(w.claim(woken), claim_result::resume);
}

TEST_F(waiter_word, claimed_during_inspection_is_resumed_by_the_inspector) {
  w.open_episode(true);
  w.publish_parked();
  ASSERT_TRUE(w.begin_inspection());
  EXPECT_EQ(w.claim(woken), claim_result::won);
  EXPECT_EQ(w.claim(woken), claim_result::too_late);
  EXPECT_EQ(w.end_inspection(), claim_result::resume);
  EXPECT_EQ(w.code(), woken);
  EXPECT_FALSE(w.begin_inspection());
}

TEST_F(waiter_word, numbers_episodes_far_beyond_their_bits) {
  for (int i = 0; i < 100'000; ++i) {
    const auto episode = w.open_episode(i % 2 == 0);
    ASSERT_EQ(w.claim_episode(episode, woken), claim_result::won);
    w.close_episode();
  }
}

// ---------------------------------------------------------------------------------------------------------------

constexpr int rounds = 3000;

// Many claim one parked waiter, some by number, some to cancel: one of them resumes it, and its code stands.
TEST(waiter_race, one_of_many_claimers_wins) {
  constexpr int claimers = 4;
  waiter w(waiter_kind::fiber);
  std::atomic<std::uint64_t> episode{0};
  std::atomic<int> winners{0};
  std::atomic<std::uint32_t> winning_code{0};
  std::barrier step(claimers + 1);
  std::vector<std::thread> threads;
  for (int i = 0; i < claimers; ++i) {
    threads.emplace_back([&, i] {
      for (int r = 0; r < rounds; ++r) {
        step.arrive_and_wait();
        const auto code = clause_code(static_cast<std::uint32_t>(i));
        const auto result = i == 0   ? w.claim_cancellable(w.word())
                            : i == 1 ? w.claim_episode(episode.load(), code)
                                     : w.claim(code);
        if (result == claim_result::resume) {
          winners.fetch_add(1);
          winning_code.store(static_cast<std::uint32_t>(i == 0 ? claim_code::cancelled : code));
        }
        step.arrive_and_wait();
      }
    });
  }
  for (int r = 0; r < rounds; ++r) {
    episode.store(w.open_episode(true));
    ASSERT_TRUE(w.publish_parked());
    step.arrive_and_wait();
    step.arrive_and_wait();
    EXPECT_EQ(winners.exchange(0), 1);
    EXPECT_EQ(static_cast<std::uint32_t>(w.code()), winning_code.load());
    w.close_episode();
  }
  for (auto& t : threads) t.join();
}

// The owner parks while another claims: either the owner learns of it, or the claimer has to resume. Never
// both, never neither.
TEST(waiter_race, parking_and_claiming_agree_on_who_resumes) {
  waiter w(waiter_kind::fiber);
  std::barrier step(2);
  claim_result result{};
  std::thread claimer([&] {
    for (int r = 0; r < rounds; ++r) {
      step.arrive_and_wait();
      result = w.claim(woken);
      step.arrive_and_wait();
    }
  });
  for (int r = 0; r < rounds; ++r) {
    w.open_episode(true);
    step.arrive_and_wait();
    const bool parked = w.publish_parked();
    step.arrive_and_wait();
    EXPECT_EQ(result, parked ? claim_result::resume : claim_result::won);
    w.close_episode();
  }
  claimer.join();
}

// A dump and a waker meet: exactly one of them resumes.
TEST(waiter_race, inspecting_and_claiming_agree_on_who_resumes) {
  waiter w(waiter_kind::fiber);
  std::barrier step(3);
  claim_result claimed{}, inspected{};
  std::thread claimer([&] {
    for (int r = 0; r < rounds; ++r) {
      step.arrive_and_wait();
      claimed = w.claim(woken);
      step.arrive_and_wait();
    }
  });
  std::thread inspector([&] {
    for (int r = 0; r < rounds; ++r) {
      step.arrive_and_wait();
      inspected = w.begin_inspection() ? w.end_inspection() : claim_result::too_late;
      step.arrive_and_wait();
    }
  });
  for (int r = 0; r < rounds; ++r) {
    w.open_episode(true);
    ASSERT_TRUE(w.publish_parked());
    step.arrive_and_wait();
    step.arrive_and_wait();
    EXPECT_NE(claimed, claim_result::too_late);
    EXPECT_EQ((claimed == claim_result::resume) + (inspected == claim_result::resume), 1);
    EXPECT_EQ(w.word() & (waiter::parked_bit | waiter::inspected_bit), 0u);
    w.close_episode();
  }
  claimer.join();
  inspector.join();
}

}  // namespace
}  // namespace thrum::sched
