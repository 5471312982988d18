// What a worker makes of the shards' answers (ps.md).
//
// N states, D hidden width, k list length.
#pragma once

#include <vector>

#include "common/status.h"
#include "ps/session.h"
#include "ps/vocabulary.h"

namespace mixrec::ps {

// log_sum_exp = log sum_s l_s e^{m_s}, entropy = log_sum_exp - z_y, gradient = sum_s e^{m_s -
// log_sum_exp} A_s - W_y, from one answer a shard, in the shards' order, all on the CPU and
// contiguous. DataError when they do not fit together: no label, or two, or as many rows.
absl::StatusOr<SoftmaxResult> CombineSoftmax(const std::vector<ShardSoftmax>& shards);

// The best k of the shards' lists (Vocabulary::TopK): [N, k], -1 and -inf where fewer are left.
TopKResult MergeTopK(const std::vector<std::pair<at::Tensor, at::Tensor>>& lists, int64_t k);

}  // namespace mixrec::ps
