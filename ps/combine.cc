#include "ps/combine.h"

#include <algorithm>
#include <cmath>

#include "common/log.h"
#include "ps/best_rows.h"

namespace mixrec::ps {
namespace {

// out += factor * row.
void AddScaled(int64_t width, float factor, const float* row, float* out) {
  for (int64_t d = 0; d < width; ++d) out[d] += factor * row[d];
}

double LogSumExp(const std::vector<ShardSoftmax>& shards, int64_t n) {
  double maximum = -1e300;
  for (const ShardSoftmax& shard : shards) {
    maximum = std::max<double>(maximum, shard.maximum.data_ptr<float>()[n]);
  }
  double sum = 0;
  for (const ShardSoftmax& shard : shards) {
    sum += shard.sum.data_ptr<float>()[n] * std::exp(shard.maximum.data_ptr<float>()[n] - maximum);
  }
  return std::log(sum) + maximum;
}

}  // namespace

absl::StatusOr<SoftmaxResult> CombineSoftmax(const std::vector<ShardSoftmax>& shards) {
  CHECK(!shards.empty());
  const int64_t states = shards[0].numerators.size(0), width = shards[0].numerators.size(1);
  for (const ShardSoftmax& shard : shards) {
    if (!(shard.numerators.sizes() == at::IntArrayRef{states, width}) ||
        shard.maximum.numel() != states || shard.sum.numel() != states ||
        shard.label_logits.numel() != states ||
        shard.label_rows.numel() != shard.label_rows.size(0) * width) {
      return DataError("a shard's part of the softmax has another shape than the first's");
    }
  }
  SoftmaxResult result{at::empty({states}), at::empty({states}), at::zeros({states, width})};
  std::vector<int64_t> used(shards.size(), 0);  // label rows
  for (int64_t n = 0; n < states; ++n) {
    const double log_sum_exp = LogSumExp(shards, n);
    float* gradient = result.gradient.data_ptr<float>() + n * width;
    result.log_sum_exp.data_ptr<float>()[n] = static_cast<float>(log_sum_exp);
    int owners = 0;
    for (size_t s = 0; s < shards.size(); ++s) {
      const ShardSoftmax& shard = shards[s];
      AddScaled(width,
                static_cast<float>(std::exp(shard.maximum.data_ptr<float>()[n] - log_sum_exp)),
                shard.numerators.data_ptr<float>() + n * width, gradient);
    }
    for (size_t s = 0; s < shards.size(); ++s) {
      const float logit = shards[s].label_logits.data_ptr<float>()[n];
      if (std::isnan(logit)) continue;
      if (++owners > 1 || used[s] >= shards[s].label_rows.size(0)) {
        return DataError("the shards do not agree about who owns the label of state ", n);
      }
      result.entropies.data_ptr<float>()[n] = static_cast<float>(log_sum_exp - logit);
      AddScaled(width, -1.0f, shards[s].label_rows.data_ptr<float>() + used[s]++ * width, gradient);
    }
    if (owners == 0) return DataError("no shard owns the label of state ", n);
  }
  return result;
}

TopKResult MergeTopK(const std::vector<std::pair<at::Tensor, at::Tensor>>& lists, int64_t k) {
  CHECK(!lists.empty());
  const int64_t states = lists[0].first.size(0);
  std::vector<BestRows> best(static_cast<size_t>(states), BestRows(k));
  for (const auto& [ids, scores] : lists) {
    CHECK(ids.size(0) == states && ids.sizes() == scores.sizes());
    for (int64_t i = 0; i < ids.numel(); ++i) {
      const int32_t id = ids.data_ptr<int32_t>()[i];
      if (id < 0) continue;
      best[static_cast<size_t>(i / ids.size(1))].Add(id, scores.data_ptr<float>()[i]);
    }
  }
  auto [ids, scores] = TakeLists(&best, k);
  return {ids, scores};
}

}  // namespace mixrec::ps
