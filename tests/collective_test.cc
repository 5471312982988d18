// What a group promises, with ranks as threads: sums in rank order, the same bits everywhere, and
// failures that name who is missing.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <mutex>

#include "collective/bucket_reducer.h"
#include "collective/group.h"
#include "collective/local_world.h"
#include "tests/rank_threads.h"

namespace mixrec::collective {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// Values whose sum depends on the order of the additions.
at::Tensor ValuesOf(int rank, int64_t count) {
  const at::Tensor index = at::arange(count, at::kDouble);
  return ((index + 1).sin() * std::pow(1000.0, rank % 3)).to(at::kFloat);
}

at::Tensor SumInRankOrder(int ranks, int64_t count) {
  at::Tensor sum = ValuesOf(0, count);
  for (int rank = 1; rank < ranks; ++rank) sum.add_(ValuesOf(rank, count));
  return sum;
}

std::string Text(const absl::Status& status) {
  return {status.message().data(), status.message().size()};
}

TEST(CollectiveTest, SumsAreThoseInRankOrderBitForBit) {
  for (const int ranks : {1, 2, 3, 5}) {
    for (const int64_t count : {1, 17, 1000, 1025, 40001}) {
      const at::Tensor expected = SumInRankOrder(ranks, count);
      RunRanks(ranks, [&](Group* group) {
        at::Tensor values = ValuesOf(group->rank(), count);
        ASSERT_TRUE(group->AllReduce(values, "a sum").ok());
        EXPECT_TRUE(values.equal(expected)) << ranks << " ranks, " << count << " values";
      });
    }
  }
}

TEST(CollectiveTest, TensorsSmallerThanTheGroupAreSummedToo) {
  RunRanks(7, [](Group* group) {
    at::Tensor counts = at::full({2}, group->rank(), at::kLong);
    ASSERT_TRUE(group->AllReduce(counts, "a sum").ok());
    EXPECT_EQ(counts[0].item<int64_t>(), 21);
    at::Tensor wide = at::ones({2000}, at::kDouble);
    ASSERT_TRUE(group->AllReduce(wide, "a sum").ok());
    EXPECT_TRUE(wide.eq(7).all().item<bool>());
  });
}

TEST(CollectiveTest, GatherScatterAndBroadcastPutEveryPartInItsPlace) {
  RunRanks(3, [](Group* group) {
    const int me = group->rank();
    at::Tensor all = at::empty({3, 4}, at::kInt);
    ASSERT_TRUE(group->AllGather(at::full({4}, me, at::kInt), all, "a gathering").ok());
    EXPECT_TRUE(all.equal(at::arange(3, at::kInt).unsqueeze(1).expand({3, 4})));
    at::Tensor mine = at::empty({4}, at::kInt);
    ASSERT_TRUE(group->ReduceScatter((all + 10 * me).contiguous(), mine, "shares").ok());
    EXPECT_TRUE(mine.eq(3 * me + 30).all().item<bool>());
    at::Tensor word = at::full({5}, me, at::kByte);
    ASSERT_TRUE(group->Broadcast(word, 1, "a word").ok());
    EXPECT_TRUE(word.eq(1).all().item<bool>());
  });
}

TEST(CollectiveTest, OperationsThatWereStartedTogetherDoNotMix) {
  RunRanks(3, [](Group* group) {
    std::vector<at::Tensor> values;
    std::vector<Group::Ticket> tickets;
    for (int k = 0; k < 20; ++k) {
      values.push_back(at::full({k % 2 == 0 ? 3 : 5000}, k + group->rank(), at::kFloat));
      tickets.push_back(group->StartAllReduce(values.back(), "a sum"));
    }
    for (size_t k = 20; k-- > 0;) {
      ASSERT_TRUE(group->Wait(tickets[k]).ok());
      EXPECT_TRUE(values[k].eq(3.0 * static_cast<double>(k) + 3).all().item<bool>());
    }
  });
}

TEST(CollectiveTest, WhoDoesNotComeIsNamedWithinTheDeadline) {
  LocalWorld world(3, {"node1", "node1", "node2"});
  RunRanks(&world, 3, [](Group* group) {
    if (group->rank() == 2) return;  // stuck somewhere
    group->set_patience(0.2);
    at::Tensor values = at::zeros({100});
    const absl::Status status = group->AllReduce(values, "the gradients of step 7");
    EXPECT_EQ(Text(status), "rank 2 on node2 did not come to the gradients of step 7 in 0.2 s");
    EXPECT_EQ(Text(group->Barrier("anything else")), Text(status)) << "a failure is final";
  });
}

TEST(CollectiveTest, WhoWasLateLearnsThatTheOthersHaveGivenUp) {
  LocalWorld world(2);
  std::mutex late;
  late.lock();
  RunRanks(&world, 2, [&](Group* group) {
    if (group->rank() == 1) {
      const std::lock_guard<std::mutex> wait(late);
      EXPECT_THAT(Text(group->Barrier("step 8")), HasSubstr("rank 1 on local did not come"));
      return;
    }
    group->set_patience(0.1);
    EXPECT_FALSE(group->Barrier("step 8").ok());
    late.unlock();
  });
}

TEST(CollectiveTest, ADeadProcessIsNamedLongBeforeTheDeadline) {
  LocalWorld world(3);
  world.Kill(1);
  const auto start = std::chrono::steady_clock::now();
  RunRanks(&world, 3, [](Group* group) {
    if (group->rank() == 1) return;
    const absl::Status status = group->Barrier("step 9");
    EXPECT_THAT(Text(status), AllOf(HasSubstr("rank 1 on local has died"), HasSubstr("step 9")));
  });
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
}

TEST(CollectiveTest, AnAbortTellsEverybodyWhoAndWhy) {
  RunRanks(3, [](Group* group) {
    if (group->rank() == 0) return group->Abort(DataError("users.tsv, line 3: no tab"));
    const absl::Status status = group->Barrier("step 1");
    EXPECT_EQ(ExitCodeOf(status), kExitData);
    EXPECT_EQ(Text(status), "rank 0 on local: users.tsv, line 3: no tab");
    EXPECT_EQ(Text(group->failure()), Text(status));
  });
}

TEST(CollectiveTest, TextsOfAnyLengthAreGatheredAndBroadcast) {
  RunRanks(3, [](Group* group) {
    const auto texts =
        GatherTexts(group, std::string(static_cast<size_t>(group->rank()) * 40, 'x'), "words");
    ASSERT_TRUE(texts.ok());
    for (size_t rank = 0; rank < 3; ++rank) EXPECT_EQ((*texts)[rank].size(), 40 * rank);
    std::string text = StrCat("said by ", group->rank());
    ASSERT_TRUE(BroadcastText(group, 2, "a word", &text).ok());
    EXPECT_EQ(text, "said by 2");
  });
}

TEST(CollectiveTest, RanksAgreeOnTheFirstFailure) {
  RunRanks(3, [](Group* group) {
    EXPECT_TRUE(Agree(group, absl::OkStatus(), "the start").ok());
    const absl::Status mine =
        group->rank() == 0 ? absl::OkStatus() : StoppedError("stopped by ", group->rank());
    const absl::Status agreed = Agree(group, mine, "the end");
    EXPECT_EQ(ExitCodeOf(agreed), kExitStopped);
    EXPECT_THAT(Text(agreed), HasSubstr("stopped by 1"));
  });
}

TEST(BucketReducerTest, EveryElementIsSummedOnceWhateverTheBuckets) {
  constexpr int64_t kSize = 1000;
  for (const int64_t bucket_bytes : {1, 400, 1 << 20}) {
    RunRanks(2, [&](Group* group) {
      BucketReducer reducer(group, bucket_bytes);
      at::Tensor gradient = ValuesOf(group->rank(), kSize);
      reducer.Start(gradient, "the gradients");
      for (int64_t first = 900; first >= 100; first -= 100) reducer.Ready(first, first + 100);
      reducer.Ready(50, 50);
      reducer.Ready(0, 100);
      ASSERT_TRUE(reducer.Finish().ok());
      EXPECT_TRUE(gradient.equal(SumInRankOrder(2, kSize)));
      reducer.Start(gradient, "the next");  // nothing is left over
      ASSERT_TRUE(reducer.Finish().ok());
      EXPECT_TRUE(gradient.equal(SumInRankOrder(2, kSize)));
    });
  }
}

}  // namespace
}  // namespace mixrec::collective
