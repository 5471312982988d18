#include "worker/evaluator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "data/batcher.h"
#include "tensor/softmax.h"
#include "worker_fixture.h"

namespace mixrec::worker {
namespace {

class EvaluatorTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = TestFolder();
    world_ = std::make_unique<World>(folder_, 40, 30);
    state_ = InitialisedState(*world_);
    // Larger values than the initial ones, so that users' rankings differ.
    state_->Tensor("item_proj.weight").mul_(50);
  }
  void TearDown() override { ClearStopRequest(); }

  EvaluationOptions Options(data::Split split, bool mask_seen) const {
    EvaluationOptions options;
    options.split = split;
    options.mask_seen = mask_seen;
    options.progress = false;
    return options;
  }
  absl::StatusOr<EvaluationResult> Run(const EvaluationOptions& options) {
    return Evaluate(world_->dataset, world_->catalogue, options, state_.get());
  }
  // Scores of all items for one user, read alone.
  std::vector<float> Scores(int32_t user, absl::Span<const int32_t> items) {
    const data::BatchOptions batch_options =
        MakeBatchOptions(SmallTraining(), state_->options(), world_->backbone.config);
    const data::EvaluationQuery query{user, items};
    const auto batch = data::BuildEvaluationBatch(world_->catalogue, batch_options, {query});
    const auto states = state_->network().Forward(batch, *state_->PullRows(batch), false);
    const at::Tensor scores =
        tensor::ItemScores(states.sequence, state_->Tensor("item_proj.weight"),
                           state_->Tensor("item_proj.bias"))
            .contiguous();
    return {scores.data_ptr<float>(), scores.data_ptr<float>() + scores.numel()};
  }

  std::string folder_;
  std::unique_ptr<World> world_;
  std::unique_ptr<ModelState> state_;
};

TEST_F(EvaluatorTest, RanksEqualThoseOfUsersReadOneByOne) {
  const data::Dataset& dataset = world_->dataset;
  for (const auto split : {data::Split::kValidation, data::Split::kTest}) {
    for (const bool mask : {false, true}) {
      const auto result = Run(Options(split, mask));
      ASSERT_TRUE(result.ok()) << result.status();
      ASSERT_EQ(static_cast<int32_t>(result->ranks.size()), dataset.users());
      for (int32_t user = 0; user < dataset.users(); ++user) {
        const size_t left_out = split == data::Split::kValidation ? 2 : 1;
        const auto history = dataset.history(user);
        const auto input = history.subspan(0, history.size() - left_out);
        const int32_t target = history[history.size() - left_out];
        std::vector<int32_t> masked;
        if (mask) masked.assign(input.begin(), input.end());
        masked.erase(std::remove(masked.begin(), masked.end(), target), masked.end());
        EXPECT_EQ(result->ranks[static_cast<size_t>(user)],
                  data::RankOf(Scores(user, input), target, masked));
      }
    }
  }
}

TEST_F(EvaluatorTest, MaskingImprovesRanks) {
  const auto kept = Run(Options(data::Split::kTest, false));
  const auto masked = Run(Options(data::Split::kTest, true));
  ASSERT_TRUE(kept.ok() && masked.ok());
  EXPECT_GT(masked->sums.Mrr(), kept->sums.Mrr());
}

TEST_F(EvaluatorTest, BatchSizeDoesNotMatter) {
  EvaluationOptions options = Options(data::Split::kTest, false);
  const auto together = Run(options);
  options.max_batch_tokens = 1;
  const auto alone = Run(options);
  ASSERT_TRUE(together.ok() && alone.ok());
  EXPECT_EQ(together->ranks, alone->ranks);
}

TEST_F(EvaluatorTest, OnlyTheLastItemsAreReadButTheWholeInputIsMasked) {
  EvaluationOptions options = Options(data::Split::kTest, true);
  options.max_items = 1;
  const auto result = Run(options);
  ASSERT_TRUE(result.ok()) << result.status();
  const auto history = world_->dataset.history(0);
  const auto input = history.subspan(0, history.size() - 1);
  std::vector<int32_t> masked(input.begin(), input.end());
  masked.erase(std::remove(masked.begin(), masked.end(), history.back()), masked.end());
  EXPECT_EQ(result->ranks[0],
            data::RankOf(Scores(0, input.subspan(input.size() - 1)), history.back(), masked));
}

TEST_F(EvaluatorTest, MetricsAndRanksFileSayTheSame) {
  EvaluationOptions options = Options(data::Split::kTest, false);
  options.users = {3, 1, 8};
  const auto result = Run(options);
  ASSERT_TRUE(result.ok()) << result.status();
  const std::string path = folder_ + "/ranks";
  ASSERT_TRUE(WriteRanks(world_->dataset, *result, path).ok());
  std::istringstream lines(*ReadFile(path));
  double reciprocal = 0;
  int users = 0;
  std::string id;
  for (int64_t rank; lines >> id >> rank; ++users) {
    EXPECT_EQ(world_->dataset.FindUser(id), options.users[static_cast<size_t>(users)]);
    reciprocal += 1.0 / static_cast<double>(rank);
  }
  ASSERT_EQ(users, 3);
  const auto json = ToJson(*result);
  EXPECT_NEAR(json["metrics"]["MRR"].get<double>(), reciprocal / 3, 1e-12);
  EXPECT_EQ(json["split"], "test");
  EXPECT_EQ(json["users"], 3);
  EXPECT_EQ(json["protocol"]["seen_items"], "kept");
  EXPECT_EQ(json["protocol"]["candidates"], world_->dataset.items());
  for (const char* name : {"NDCG@5", "NDCG@10", "NDCG@20", "Recall@5", "Recall@10", "Recall@20"}) {
    EXPECT_TRUE(json["metrics"].contains(name)) << name;
  }
}

TEST_F(EvaluatorTest, StopRequestEndsIt) {
  RequestStop();
  EXPECT_EQ(ExitCodeOf(Run(Options(data::Split::kTest, false)).status()), kExitStopped);
}

TEST_F(EvaluatorTest, StatesThatAreNotFiniteAreAFailureNotARank) {
  state_->parameters().value("seq_token").fill_(std::numeric_limits<float>::quiet_NaN());
  EXPECT_EQ(ExitCodeOf(Run(Options(data::Split::kTest, false)).status()), kExitFailure);
}

}  // namespace
}  // namespace mixrec::worker
