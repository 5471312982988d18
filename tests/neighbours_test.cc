#include "mining/neighbours.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "common/random.h"

namespace mixrec::mining {
namespace {

// Small whole numbers, whose products and sums are exact in fp32: ties are ties.
at::Tensor WholeNumbers(uint64_t seed, int64_t items, int64_t width, uint64_t levels) {
  at::Tensor vectors = at::empty({items, width}, at::kFloat);
  RandomStream random(seed);
  for (int64_t k = 0; k < vectors.numel(); ++k) {
    vectors.data_ptr<float>()[k] = static_cast<float>(random.Below(levels));
  }
  return vectors;
}

std::vector<int32_t> BruteForce(const at::Tensor& vectors, int64_t item, int64_t k) {
  std::vector<std::pair<double, int32_t>> distances;
  for (int64_t other = 0; other < vectors.size(0); ++other) {
    if (other == item) continue;
    const double square = (vectors[item].to(at::kDouble) - vectors[other].to(at::kDouble))
                              .square()
                              .sum()
                              .item<double>();
    distances.emplace_back(square, static_cast<int32_t>(other));
  }
  std::sort(distances.begin(), distances.end());
  std::vector<int32_t> nearest;
  for (int64_t rank = 0; rank < k; ++rank) {
    nearest.push_back(distances[static_cast<size_t>(rank)].second);
  }
  return nearest;
}

std::vector<int32_t> Row(const at::Tensor& nearest, int64_t row) {
  const int32_t* values = nearest.data_ptr<int32_t>() + row * nearest.size(1);
  return {values, values + nearest.size(1)};
}

TEST(Neighbours, AreThoseOfBruteForceTiesIncluded) {
  for (const int64_t block : {5, 64, 1000}) {
    const at::Tensor vectors = WholeNumbers(3, 130, 6, 4);
    NeighbourOptions options;
    options.item_block = block;
    const NeighbourSearch search(vectors, options);
    const at::Tensor nearest = search.Nearest(0, 130, 9);
    for (int64_t item = 0; item < 130; ++item) {
      ASSERT_EQ(Row(nearest, item), BruteForce(vectors, item, 9)) << item << ", block " << block;
    }
  }
}

TEST(Neighbours, AnyBlockOfQueriesGivesTheSame) {
  const at::Tensor vectors = WholeNumbers(4, 90, 8, 50);
  NeighbourOptions options;
  options.item_block = 32;
  const NeighbourSearch search(vectors, options);
  const at::Tensor all = search.Nearest(0, 90, 4);
  for (int64_t first = 0; first < 90; first += 7) {
    const int64_t count = std::min<int64_t>(7, 90 - first);
    EXPECT_TRUE(at::equal(search.Nearest(first, count, 4), all.narrow(0, first, count)));
  }
}

TEST(Neighbours, AnItemIsNotItsOwnEvenAmongTwins) {
  const NeighbourSearch search(at::ones({6, 3}), {});
  const at::Tensor nearest = search.Nearest(0, 6, 5);
  EXPECT_EQ(Row(nearest, 0), (std::vector<int32_t>{1, 2, 3, 4, 5}));
  EXPECT_EQ(Row(nearest, 3), (std::vector<int32_t>{0, 1, 2, 4, 5}));
}

TEST(Neighbours, BothMethodsFindTheSame) {
  at::Tensor vectors = at::empty({150, 7}, at::kFloat);
  RandomStream random(9);
  for (int64_t k = 0; k < vectors.numel(); ++k) {
    vectors.data_ptr<float>()[k] = static_cast<float>(random.Normal());
  }
  for (const int64_t block : {4, 40, 1000}) {
    NeighbourOptions options;
    options.item_block = block;
    const at::Tensor scanned = NeighbourSearch(vectors, options).Nearest(20, 70, 6);
    options.method = NeighbourMethod::kTopK;
    EXPECT_TRUE(at::equal(NeighbourSearch(vectors, options).Nearest(20, 70, 6), scanned)) << block;
  }
}

TEST(Neighbours, DistancesAreThoseOfRealVectors) {
  at::Tensor vectors = at::empty({300, 40}, at::kFloat);
  RandomStream random(8);
  for (int64_t k = 0; k < vectors.numel(); ++k) {
    vectors.data_ptr<float>()[k] = static_cast<float>(3 + random.Normal());
  }
  const at::Tensor nearest = NeighbourSearch(vectors, {}).Nearest(10, 20, 15);
  for (int64_t row = 0; row < 20; ++row) {
    EXPECT_EQ(Row(nearest, row), BruteForce(vectors, 10 + row, 15));
  }
}

}  // namespace
}  // namespace mixrec::mining
