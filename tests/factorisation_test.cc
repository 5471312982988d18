#include "mining/factorisation.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "common/random.h"
#include "common/stop_signal.h"

namespace mixrec::mining {
namespace {

data::Dataset RandomDataset(uint64_t seed, int users, int items) {
  RandomStream random(HashKey(seed, "histories"));
  std::vector<std::vector<int32_t>> histories(static_cast<size_t>(users));
  for (auto& history : histories) {
    history.resize(3 + random.Below(9));
    for (int32_t& item : history) {
      item = static_cast<int32_t>(random.Below(1 + random.Below(static_cast<uint64_t>(items))));
    }
  }
  return data::Dataset::FromHistories(histories,
                                      std::vector<std::string>(static_cast<size_t>(items), "t"));
}

at::Tensor Dense(const UserItemMatrix& matrix) {
  at::Tensor dense = at::zeros({matrix.users(), matrix.items()}, at::kDouble);
  for (int32_t user = 0; user < matrix.users(); ++user) {
    for (const int32_t item : matrix.row(user)) dense[user][item] = 1;
  }
  return dense;
}

Factorisation Factorise(const UserItemMatrix& matrix, const FactorisationOptions& options) {
  auto result = FactoriseItems(matrix, options);
  EXPECT_TRUE(result.ok()) << result.status();
  return result.ok() ? *std::move(result) : Factorisation();
}

TEST(UserItemMatrix, HoldsTrainingItemsOnceAndNoOthers) {
  const UserItemMatrix matrix(
      data::Dataset::FromHistories({{2, 0, 2, 1, 3}, {1, 1, 0}}, {"a", "b", "c", "d"}));
  ASSERT_EQ(matrix.users(), 2);
  EXPECT_EQ(std::vector<int32_t>(matrix.row(0).begin(), matrix.row(0).end()),
            (std::vector<int32_t>{0, 2}));
  EXPECT_EQ(std::vector<int32_t>(matrix.row(1).begin(), matrix.row(1).end()),
            (std::vector<int32_t>{1}));
  EXPECT_EQ(matrix.entries(), 3);
}

// Signs of singular vectors are free, so the products V S V' are compared.
TEST(Factorisation, IsTheDenseSingularValueDecomposition) {
  const UserItemMatrix matrix(RandomDataset(1, 80, 50));
  FactorisationOptions options;
  options.dimensions = 12;
  options.oversampling = 8;
  options.iterations = 80;
  const Factorisation found = Factorise(matrix, options);
  const auto [u, s, vh] = at::linalg_svd(Dense(matrix), /*full_matrices=*/false);
  EXPECT_LE((found.singular_values - s.narrow(0, 0, 12)).abs().max().item<double>(), 1e-4);
  const at::Tensor v = vh.narrow(0, 0, 12).t() * s.narrow(0, 0, 12).sqrt();
  const at::Tensor w = found.item_vectors.to(at::kDouble);
  EXPECT_LE((w.matmul(w.t()) - v.matmul(v.t())).abs().max().item<double>(), 1e-3);
}

TEST(Factorisation, AllDimensionsRestoreTheMatrix) {
  const UserItemMatrix matrix(RandomDataset(2, 60, 25));
  FactorisationOptions options;
  options.dimensions = 1000;
  const Factorisation found = Factorise(matrix, options);
  const auto [u, s, vh] = at::linalg_svd(Dense(matrix), /*full_matrices=*/false);
  const at::Tensor w = found.item_vectors.to(at::kDouble);  // W S W' = A'A
  const at::Tensor gram = (w * found.singular_values).matmul(w.t());
  EXPECT_LE((gram - Dense(matrix).t().matmul(Dense(matrix))).abs().max().item<double>(), 1e-4);
  EXPECT_LE(found.item_vectors.size(1), 25);
}

TEST(Factorisation, AMatrixOfSmallerRankHasFewerDimensions) {
  // Items 0 and 1 always together: rank 2 of 4 items, one of which nobody has.
  const UserItemMatrix matrix(data::Dataset::FromHistories(
      {{0, 1, 3, 3}, {1, 0, 3, 3}, {2, 2, 3, 3}}, {"a", "b", "c", "d"}));
  const Factorisation found = Factorise(matrix, {});
  ASSERT_EQ(found.singular_values.size(0), 2);
  EXPECT_NEAR(found.singular_values[0].item<double>(), 2, 1e-6);
  EXPECT_NEAR(found.singular_values[1].item<double>(), 1, 1e-6);
  EXPECT_LE((found.item_vectors[0] - found.item_vectors[1]).abs().max().item<double>(), 1e-6);
  EXPECT_LE(found.item_vectors[3].abs().max().item<double>(), 1e-6);
}

TEST(Factorisation, TheSameSeedGivesTheSameBits) {
  const UserItemMatrix matrix(RandomDataset(3, 200, 90));
  FactorisationOptions options;
  options.dimensions = 20;
  options.oversampling = 4;
  const Factorisation first = Factorise(matrix, options);
  EXPECT_TRUE(at::equal(first.item_vectors, Factorise(matrix, options).item_vectors));
  options.seed = 2;
  EXPECT_FALSE(at::equal(first.item_vectors, Factorise(matrix, options).item_vectors));
}

TEST(Factorisation, AStopRequestEndsIt) {
  const UserItemMatrix matrix(RandomDataset(4, 30, 20));
  const absl::Status status = FactoriseItems(matrix, {}, [](int done, int) {
                                if (done == 2) RequestStop();
                              }).status();
  ClearStopRequest();
  EXPECT_EQ(ExitCodeOf(status), kExitStopped);
}

}  // namespace
}  // namespace mixrec::mining
