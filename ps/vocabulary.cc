#include "ps/vocabulary.h"

#include <algorithm>
#include <limits>

#include "common/log.h"

namespace mixrec::ps {
namespace {

// Bias of a column that is another state's label and no proposal: its exponential is 0.
constexpr float kNoColumn = -1e30f;

at::Tensor IndexTensor(const std::vector<int64_t>& values, at::Device device) {
  return at::tensor(at::ArrayRef<int64_t>(values), at::kLong).to(device);
}

at::Tensor FloatTensor(const std::vector<float>& values, at::Device device) {
  return at::tensor(at::ArrayRef<float>(values), at::kFloat).to(device);
}

}  // namespace

int64_t SoftmaxBatch::bytes() const {
  auto total = static_cast<int64_t>(states.nbytes() + labels.size() * sizeof(int32_t));
  for (const auto& block : kept.blocks) {
    total += static_cast<int64_t>(block.exponentials.nbytes() + block.maximum.nbytes());
  }
  return total;
}

Vocabulary::Vocabulary(Table* table, const VocabularyOptions& options)
    : table_(table), options_(options) {
  CHECK(table->spec().softmax() && table->spec().parts.size() == 2) << table->spec().name;
}

at::Tensor Vocabulary::OnDevice(const at::Tensor& states) const {
  CHECK(states.dim() == 2 && states.size(1) == width() && states.scalar_type() == at::kFloat);
  at::Tensor copy = at::empty(states.sizes(), states.options().device(table_->device()));
  return copy.copy_(states);
}

int64_t Vocabulary::BlockElements(const at::Tensor& states) const {
  return options_.block_elements > 0 ? options_.block_elements : tensor::BlockElements(states);
}

SoftmaxBatch Vocabulary::MakeBatch(const at::Tensor& states, const int32_t* labels) const {
  SoftmaxBatch batch;
  batch.states = OnDevice(states);
  batch.labels.assign(labels, labels + states.size(0));
  for (const int32_t label : batch.labels) {
    CHECK(label >= 0 && label < table_->spec().rows) << "label " << label;
  }
  return batch;
}

Vocabulary::Columns Vocabulary::ExactColumns(const std::vector<int32_t>& labels) const {
  std::vector<int64_t> local;
  for (const int32_t label : labels) local.push_back(table_->layout().LocalOf(label));
  Columns all;
  all.columns.weight = table_->PartValues(0);
  all.columns.bias = table_->PartValues(1).reshape({-1});
  all.columns.label_columns = IndexTensor(local, table_->device());
  all.columns.label_bias =
      all.columns.bias.numel() == 0
          ? at::zeros({static_cast<int64_t>(labels.size())}, all.columns.bias.options())
          : all.columns.bias.index_select(0, all.columns.label_columns.clamp_min(0));
  return all;
}

Vocabulary::Columns Vocabulary::SampledColumns(const Sampling& sampling, int64_t step,
                                               const std::vector<int32_t>& labels) const {
  const RowLayout& layout = table_->layout();
  const Proposals proposals =
      DrawProposals(table_->spec(), sampling, step, layout.first_row(), layout.local_rows());
  Columns some;
  for (const int64_t row : proposals.rows) some.rows.push_back(layout.LocalOf(row));
  for (const int32_t label : labels) {
    if (layout.LocalOf(label) >= 0) some.rows.push_back(layout.LocalOf(label));
  }
  std::sort(some.rows.begin(), some.rows.end());
  some.rows.erase(std::unique(some.rows.begin(), some.rows.end()), some.rows.end());

  // Both lists ascend: a column that the proposals lack is somebody's label.
  std::vector<float> correction;
  size_t next = 0;
  for (const int64_t row : some.rows) {
    const bool proposed =
        next < proposals.rows.size() && layout.LocalOf(proposals.rows[next]) == row;
    correction.push_back(proposed ? -proposals.log_expected[next++] : kNoColumn);
  }
  std::vector<int64_t> label_columns;
  for (const int32_t label : labels) {
    const int64_t local = layout.LocalOf(label);
    const auto found = std::lower_bound(some.rows.begin(), some.rows.end(), local);
    label_columns.push_back(local < 0 ? -1 : found - some.rows.begin());
  }
  const at::Tensor index = IndexTensor(some.rows, table_->device());
  const at::Tensor bias = table_->PartValues(1).index_select(0, index).reshape({-1});
  some.columns.weight = table_->PartValues(0).index_select(0, index);
  some.columns.label_columns = IndexTensor(label_columns, table_->device());
  some.columns.label_bias = some.rows.empty()
                                ? at::zeros({static_cast<int64_t>(labels.size())}, bias.options())
                                : bias.index_select(0, some.columns.label_columns.clamp_min(0));
  some.columns.bias = bias + FloatTensor(correction, table_->device());
  return some;
}

Vocabulary::Columns Vocabulary::ColumnsOf(const Sampling& sampling, int64_t step,
                                          const std::vector<int32_t>& labels) const {
  return sampling.count == 0 ? ExactColumns(labels) : SampledColumns(sampling, step, labels);
}

ShardSoftmax Vocabulary::Forward(const Sampling& sampling, int64_t step, int64_t kept_bytes,
                                 SoftmaxBatch* batch) const {
  const Columns some = ColumnsOf(sampling, step, batch->labels);
  const at::Tensor& states = batch->states;
  batch->kept.blocks.clear();
  const int64_t needed =
      states.size(0) * some.columns.weight.size(0) * static_cast<int64_t>(sizeof(float));
  const tensor::PartialSoftmax partial = tensor::PartialSoftmaxForward(
      states, some.columns, BlockElements(states), needed <= kept_bytes ? &batch->kept : nullptr);
  // NaN means elsewhere; a model that has diverged is told by an infinite logit.
  const at::Tensor here = some.columns.label_columns.ge(0);
  const at::Tensor label_logits = at::where(
      here.logical_and(partial.label_logits.isnan()),
      at::full({}, std::numeric_limits<float>::infinity(), states.options()), partial.label_logits);
  const at::Tensor owned = some.columns.label_columns.masked_select(here);
  return {partial.maximum, partial.sum, label_logits, some.columns.weight.index_select(0, owned),
          partial.numerators};
}

void Vocabulary::Backward(const Sampling& sampling, int64_t step, const SoftmaxBatch& batch,
                          const at::Tensor& log_sum_exp, const at::Tensor& weights) {
  const Columns some = ColumnsOf(sampling, step, batch.labels);
  const auto options = batch.states.options();
  at::Tensor d_weight, d_bias;
  if (sampling.count == 0) {
    if (!d_weight_.defined()) {
      d_weight_ = at::empty(some.columns.weight.sizes(), options);
      d_bias_ = at::empty(some.columns.bias.sizes(), options);
    }
    if (!has_gradient_) {
      d_weight_.zero_();
      d_bias_.zero_();
    }
    has_gradient_ = true;
    d_weight = d_weight_;
    d_bias = d_bias_;
  } else {
    d_weight = at::zeros(some.columns.weight.sizes(), options);
    d_bias = at::zeros(some.columns.bias.sizes(), options);
  }
  const auto aligned = [&](const at::Tensor& from) {
    return at::empty(from.sizes(), options).copy_(from);
  };
  tensor::PartialSoftmaxBackward(batch.states, some.columns, aligned(log_sum_exp), aligned(weights),
                                 BlockElements(batch.states), &batch.kept, d_weight, d_bias);
  if (sampling.count > 0) {
    pending_.push_back({some.rows, at::cat({d_weight, d_bias.unsqueeze(1)}, 1)});
  }
}

void Vocabulary::ApplyStep(double learning_rate) {
  if (!table_->spec().dense) return ApplySampled(learning_rate);
  if (!has_gradient_) {  // the decay and the moments move all the same
    d_weight_ = at::zeros(table_->PartValues(0).sizes(), table_->PartValues(0).options());
    d_bias_ = at::zeros({d_weight_.size(0)}, d_weight_.options());
  }
  table_->StepAll({d_weight_, d_bias_.unsqueeze(1)}, learning_rate);
  has_gradient_ = false;
}

void Vocabulary::ApplySampled(double learning_rate) {
  std::vector<int64_t> rows;
  for (const SampledGradient& piece : pending_) {
    rows.insert(rows.end(), piece.rows.begin(), piece.rows.end());
  }
  std::sort(rows.begin(), rows.end());
  rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
  at::Tensor gradient = at::zeros({static_cast<int64_t>(rows.size()), table_->width()},
                                  table_->PartValues(0).options());
  for (const SampledGradient& piece : pending_) {
    std::vector<int64_t> places;
    for (const int64_t row : piece.rows) {
      places.push_back(std::lower_bound(rows.begin(), rows.end(), row) - rows.begin());
    }
    const at::Tensor index = IndexTensor(places, table_->device());
    gradient.index_copy_(0, index, gradient.index_select(0, index) + piece.gradient);
  }
  pending_.clear();
  std::vector<int32_t> ids;
  for (const int64_t row : rows) ids.push_back(static_cast<int32_t>(table_->layout().RowOf(row)));
  table_->PushRows(ids, gradient, learning_rate);
}

}  // namespace mixrec::ps
