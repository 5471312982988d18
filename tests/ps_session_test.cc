#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "ps/session.h"
#include "ps/snapshot.h"
#include "tensor/optimizer.h"
#include "tensor/softmax.h"
#include "tests/ps_cluster.h"
#include "tests/test_folder.h"

namespace mixrec::ps {
namespace {

constexpr int64_t kRows = 57, kWidth = 16;

TableSpec Embeddings() {
  TableSpec spec;
  spec.name = "embeddings";
  spec.rows = kRows;
  spec.parts = {{"embeddings.weight", kWidth, 0.02}};
  spec.seed = 3;
  return spec;
}

TableSpec Items() {
  TableSpec spec;
  spec.name = "items";
  spec.rows = kRows;
  spec.parts = {{"items.weight", kWidth, 0.3}, {"items.bias", 1, 0.1}};
  spec.partition = Partition::kRanges;
  spec.dense = true;
  spec.seed = 4;
  return spec;
}

std::vector<int32_t> AllIds() {
  std::vector<int32_t> ids(kRows);
  std::iota(ids.begin(), ids.end(), 0);
  return ids;
}

at::Tensor PullAll(Session* session, const std::string& table, int64_t step) {
  auto rows = session->FinishPull(session->StartPull(table, step, AllIds()));
  EXPECT_TRUE(rows.ok()) << rows.status();
  return rows.ok() ? *rows : at::Tensor();
}

class PsSession : public ::testing::TestWithParam<int> {};

TEST_P(PsSession, PulledRowsAreTheEmbeddedOnesBeforeAndAfterPushes) {
  const Cluster cluster(GetParam());
  SessionOptions options = cluster.Options();
  options.message_bytes = 4 * kWidth * 5;  // five rows a message
  const std::unique_ptr<Session> session = cluster.Open(options);
  ASSERT_NE(session, nullptr);
  ASSERT_TRUE(session->CreateTable(Embeddings()).ok());
  Table local(Embeddings(), {}, at::kCPU);
  const std::vector<int32_t> ids{50, 3, 4, 5, 41, 6, 0, 56, 22, 23, 24, 25, 26, 27};
  for (int64_t step = 0; step < 3; ++step) {
    const at::Tensor gradients = at::randn({static_cast<int64_t>(ids.size()), kWidth});
    const auto ticket = session->StartPush("embeddings", step, 1e-2, ids, gradients);
    ASSERT_TRUE(session->Finish(ticket).ok());
    local.PushRows(ids, gradients, 1e-2);
    EXPECT_TRUE(PullAll(session.get(), "embeddings", step + 1).equal(local.PullRows(AllIds())));
  }
}

TEST_P(PsSession, PullAheadLargerThanTheWindowDoesNotHoldBackThePushItWaitsFor) {
  const Cluster cluster(GetParam());
  SessionOptions options = cluster.Options();
  options.message_bytes = 4 * kWidth * 2;
  options.window_bytes = 4 * options.message_bytes;
  options.peer_seconds = 5;
  const std::unique_ptr<Session> session = cluster.Open(options);
  ASSERT_NE(session, nullptr);
  ASSERT_TRUE(session->CreateTable(Embeddings()).ok());
  Table local(Embeddings(), {}, at::kCPU);
  const at::Tensor gradients = at::randn({kRows, kWidth});
  const auto ahead = session->StartPull("embeddings", 1, AllIds());
  const auto push = session->StartPush("embeddings", 0, 1e-2, AllIds(), gradients);
  const auto rows = session->FinishPull(ahead);
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_TRUE(session->Finish(push).ok());
  local.PushRows(AllIds(), gradients, 1e-2);
  EXPECT_TRUE(rows->equal(local.PullRows(AllIds())));
}

TEST_P(PsSession, SoftmaxRanksAndTopKEqualTheLocalOnes) {
  const Cluster cluster(GetParam());
  SessionOptions options = cluster.Options();
  options.message_bytes = 4 * kWidth * 4;  // four states a message
  const std::unique_ptr<Session> session = cluster.Open(options);
  ASSERT_NE(session, nullptr);
  ASSERT_TRUE(session->CreateTable(Items()).ok());
  Table local(Items(), {}, at::kCPU);
  const at::Tensor weight = local.PartValues(0), bias = local.PartValues(1).squeeze(1);
  for (int64_t step = 0; step < 2; ++step) {
    const at::Tensor states = at::randn({10, kWidth}), weights = at::rand({10});
    const std::vector<int32_t> labels{3, 56, 0, 7, 7, 21, 40, 41, 42, 55};
    const at::Tensor index =
        at::tensor(std::vector<int64_t>(labels.begin(), labels.end()), at::kLong);
    at::Tensor d_states, d_weight = at::zeros_like(weight), d_bias = at::zeros({kRows});
    const at::Tensor entropies = tensor::SoftmaxCrossEntropy(states, weight, bias, index, weights,
                                                             &d_states, d_weight, d_bias);
    const auto forward = session->StartSoftmax("items", step, states, labels, {});
    const auto result = session->FinishSoftmax(forward);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_TRUE(at::allclose(result->entropies, entropies, 1e-5, 1e-5));
    EXPECT_TRUE(at::allclose(result->gradient * weights.unsqueeze(1), d_states, 1e-4, 1e-5));
    const absl::Status pushed =
        session->Finish(session->StartSoftmaxBackward(forward, 1e-2, result->log_sum_exp, weights));
    ASSERT_TRUE(pushed.ok()) << pushed;
    local.StepAll({d_weight, d_bias.unsqueeze(1)}, 1e-2);
    const at::Tensor rows = PullAll(session.get(), "items", step + 1);
    EXPECT_TRUE(at::allclose(rows.narrow(1, 0, kWidth), weight, 1e-3, 1e-5));

    const at::Tensor scores = tensor::ItemScores(states, weight, bias);
    const at::Tensor ranks = tensor::RankOfTargets(scores, index, {});
    const auto ours = session->Rank("items", step + 1, {states, labels, {}});
    ASSERT_TRUE(ours.ok()) << ours.status();
    EXPECT_EQ(*ours, std::vector<int64_t>(ranks.data_ptr<int64_t>(),
                                          ranks.data_ptr<int64_t>() + ranks.numel()));
    const auto best = session->TopK("items", step + 1, {states, 5, {}});
    ASSERT_TRUE(best.ok()) << best.status();
    EXPECT_TRUE(best->ids.to(at::kLong).equal(tensor::TopK(scores, 5).first));
  }
}

INSTANTIATE_TEST_SUITE_P(Shards, PsSession, ::testing::Values(1, 2, 3, 7));

TEST(PsSession, SavedTablesAreRestoredByAnotherNumberOfShards) {
  const std::string folder = TestFolder() + "/tables";
  at::Tensor before;
  {
    const Cluster cluster(3);
    const auto session = cluster.Open();
    ASSERT_TRUE(session->CreateTable(Embeddings()).ok());
    const at::Tensor gradients = at::randn({kRows, kWidth});
    ASSERT_TRUE(
        session->Finish(session->StartPush("embeddings", 0, 1e-2, AllIds(), gradients)).ok());
    before = PullAll(session.get(), "embeddings", 1);
    const absl::Status saved = session->Save(folder, 1);
    ASSERT_TRUE(saved.ok()) << saved;
  }
  const Cluster cluster(2, /*replicas=*/1);
  const auto session = cluster.Open();
  ASSERT_TRUE(session->CreateTable(Embeddings()).ok());
  const absl::Status restored = session->Restore(folder, 1);
  ASSERT_TRUE(restored.ok()) << restored;
  EXPECT_TRUE(PullAll(session.get(), "embeddings", 1).equal(before));
  const absl::Status missing = session->Restore(folder + "-not-there", 1);
  EXPECT_FALSE(missing.ok());
}

TEST(PsSession, DroppedNamespaceIsGoneAndAnotherOneStays) {
  const Cluster cluster(2);
  const auto dropped = cluster.Open(cluster.Options("one"));
  const auto kept = cluster.Open(cluster.Options("two"));
  ASSERT_TRUE(dropped->CreateTable(Embeddings()).ok());
  ASSERT_TRUE(kept->CreateTable(Embeddings()).ok());
  ASSERT_TRUE(dropped->Drop().ok());
  const auto rows = dropped->FinishPull(dropped->StartPull("embeddings", 0, {1}));
  EXPECT_THAT(std::string(rows.status().message()), ::testing::HasSubstr("no namespace one"));
  EXPECT_EQ(PullAll(kept.get(), "embeddings", 0).size(0), kRows);
  const auto stats = kept->Stats();
  ASSERT_TRUE(stats.ok()) << stats.status();
  EXPECT_THAT(*stats, ::testing::HasSubstr("\"two\""));
  EXPECT_THAT(*stats, ::testing::Not(::testing::HasSubstr("\"one\"")));
}

TEST(PsSession, NoServerIsOneClearError) {
  SessionOptions options;
  options.servers = {"127.0.0.1:1"};
  options.space = "test";
  options.deadline_seconds = 0.3;
  const auto session = Session::Open(options);
  EXPECT_THAT(std::string(session.status().message()),
              ::testing::HasSubstr("no parameter server answers at 127.0.0.1:1"));
}

TEST(PsSession, SecondProcessOfARankTakesItsPlace) {
  const Cluster cluster(1);
  const auto first = cluster.Open();
  ASSERT_TRUE(first->CreateTable(Embeddings()).ok());
  const auto second = cluster.Open();
  const auto rows = first->FinishPull(first->StartPull("embeddings", 0, {1}));
  EXPECT_THAT(std::string(rows.status().message()), ::testing::HasSubstr("another process"));
}

}  // namespace
}  // namespace mixrec::ps
