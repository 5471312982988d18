// A shard's part of a softmax over all rows of a table, of exact ranks and of retrieval (ps.md).
// The table has contiguous rows (Partition::kRanges), one part of weights and one of biases.
//
// N states, D hidden width, I_s local rows, I rows of the table.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "common/status.h"
#include "ps/protocol.h"
#include "ps/sampled.h"
#include "ps/session.h"
#include "ps/table.h"
#include "tensor/partial_softmax.h"

namespace mixrec::ps {

struct VocabularyOptions {
  int64_t block_elements = 0;  // logits at once; 0: as the device likes it
};

// What a shard answers to the first half. On the table's device, fp32.
struct ShardSoftmax {
  at::Tensor maximum, sum;  // [N] m_s and l_s
  at::Tensor label_logits;  // [N]; NaN where the label is elsewhere, and only there
  at::Tensor label_rows;    // [owned, D] weights of the labels that are here, in the states' order
  at::Tensor numerators;    // [N, D] A_s
};

// States with their labels, and what a first half leaves for the second.
struct SoftmaxBatch {
  at::Tensor states;  // [N, D] fp32 on the table's device
  std::vector<int32_t> labels;
  tensor::KeptExponentials kept;
  // Bytes held until the second half comes.
  int64_t bytes() const;
};

// Rows that do not count, by state: of state n ids[offsets[n] .. offsets[n + 1]). Empty: none.
struct Exclusions {
  std::vector<int32_t> offsets, ids;
};

// One thread. The table must outlive it.
class Vocabulary {
 public:
  // CheckSoftmax must have accepted the table's spec.
  explicit Vocabulary(Table* table, const VocabularyOptions& options = {});

  int64_t width() const { return table_->PartValues(0).size(1); }
  const Table& table() const { return *table_; }

  // Takes states [N, D] fp32 CPU (copied: results must not depend on where a message lies in
  // memory) and labels, each in [0, I).
  SoftmaxBatch MakeBatch(const at::Tensor& states, const int32_t* labels) const;

  // The first half. Keeps the exponentials in `batch` when they fit into `kept_bytes`.
  ShardSoftmax Forward(const Sampling& sampling, int64_t step, int64_t kept_bytes,
                       SoftmaxBatch* batch) const;
  // The second half of a piece: adds its gradients, given log_sum_exp and weights [N] of all
  // shards. Bit for bit the same whether exponentials were kept or not, if the rows have not moved
  // since.
  void Backward(const Sampling& sampling, int64_t step, const SoftmaxBatch& batch,
                const at::Tensor& log_sum_exp, const at::Tensor& weights);
  // One step of the optimiser with the gradients since the last one: on all local rows (exact), or
  // on proposals and labels (sampled).
  void ApplyStep(double learning_rate);

  // Scores of those `targets` [N] that are here: [N] fp32 CPU, NaN for others; -inf for a score
  // that is no number.
  at::Tensor TargetScores(const at::Tensor& states, const std::vector<int32_t>& targets) const;
  // How many local rows rank before each target, whose score is given [N] fp32 CPU: the rule of
  // tensor::RankOfTargets. Returns [N] int32 CPU; the rank is one more than the sum over the
  // shards.
  at::Tensor CountAhead(const at::Tensor& states, const std::vector<int32_t>& targets,
                        const at::Tensor& target_scores, const Exclusions& excluded) const;
  // The min(k, I_s) best rows a state: ids [N, k'] int32 and scores fp32, CPU, best first, ties by
  // smaller row; -1 and -inf where fewer are left. A score that is no number counts as -inf.
  std::pair<at::Tensor, at::Tensor> TopK(const at::Tensor& states, int64_t k,
                                         const Exclusions& excluded) const;

 private:
  // The columns of a softmax, and the local rows that they are; no rows: all of them.
  struct Columns {
    tensor::SoftmaxColumns columns;
    std::vector<int64_t> rows;
  };
  Columns ExactColumns(const std::vector<int32_t>& labels) const;
  Columns SampledColumns(const Sampling& sampling, int64_t step,
                         const std::vector<int32_t>& labels) const;
  Columns ColumnsOf(const Sampling& sampling, int64_t step,
                    const std::vector<int32_t>& labels) const;
  at::Tensor OnDevice(const at::Tensor& states) const;
  int64_t BlockElements(const at::Tensor& states) const;
  // Calls visit(first local row, scores [n, j] on the device, first state) for every block.
  template <typename Visit>
  void ForScores(const at::Tensor& states, Visit visit) const;
  void ApplySampled(double learning_rate);

  Table* table_;
  VocabularyOptions options_;
  at::Tensor d_weight_, d_bias_;  // [I_s, D], [I_s]: exact, made when first needed
  bool has_gradient_ = false;
  struct SampledGradient {
    std::vector<int64_t> rows;  // local, ascending
    at::Tensor gradient;        // [rows, D + 1]
  };
  std::vector<SampledGradient> pending_;  // sampled: a piece each
};

}  // namespace mixrec::ps
