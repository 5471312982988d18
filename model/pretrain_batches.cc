#include "model/pretrain_batches.h"

#include <algorithm>
#include <numeric>

#include "common/random.h"

namespace mixrec::model {
namespace {

constexpr int32_t kSeparator = 2;       // </s>
constexpr int64_t kPositionOffset = 2;  // the first row of the position table that is used

}  // namespace

int64_t PositionOffset(const PretrainOptions& options, int64_t tokens, RandomStream* random) {
  if (random->Uniform() >= options.offset_probability) return 0;
  return static_cast<int64_t>(
      random->Below(static_cast<uint64_t>(options.max_positions - tokens + 1)));
}

PretrainBatches::PretrainBatches(const PretrainOptions& options,
                                 const std::vector<std::vector<int32_t>>& documents)
    : options_(options), documents_(documents) {
  for (const auto& document : documents) tokens_ += static_cast<int64_t>(document.size()) + 1;
  // A text shorter than one sequence is one short sequence; otherwise the rest of an epoch that
  // fills no sequence is left out (another rest every epoch).
  context_ = std::min(options.context, std::max<int64_t>(tokens_ - 1, 0));
  sequences_ = context_ == 0 ? 0 : (tokens_ - 1) / context_;
  steps_per_epoch_ = (sequences_ + options.batch - 1) / options.batch;
}

void PretrainBatches::StartEpoch(int64_t epoch) {
  epoch_ = epoch;
  std::vector<size_t> order(documents_.size());
  std::iota(order.begin(), order.end(), size_t{0});
  RandomStream random(HashKey(options_.seed, "pretrain.order", static_cast<uint64_t>(epoch)));
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.Below(i)]);
  stream_.clear();
  stream_.reserve(static_cast<size_t>(tokens_));
  for (const size_t document : order) {
    stream_.insert(stream_.end(), documents_[document].begin(), documents_[document].end());
    stream_.push_back(kSeparator);
  }
}

PretrainBatch PretrainBatches::At(int64_t step) {
  if (const int64_t epoch = step / steps_per_epoch_; epoch != epoch_) StartEpoch(epoch);
  const int64_t first = step % steps_per_epoch_ * options_.batch;
  const int64_t rows = std::min(options_.batch, sequences_ - first);
  PretrainBatch batch;
  batch.inputs = at::empty({rows, context_}, at::kLong);
  batch.targets = at::empty({rows, context_}, at::kLong);
  batch.positions = at::empty({rows, context_}, at::kLong);
  for (int64_t row = 0; row < rows; ++row) {
    const int32_t* tokens = stream_.data() + (first + row) * context_;
    std::copy_n(tokens, context_, batch.inputs.data_ptr<int64_t>() + row * context_);
    std::copy_n(tokens + 1, context_, batch.targets.data_ptr<int64_t>() + row * context_);
    RandomStream random(HashKey(options_.seed, "pretrain.offset", static_cast<uint64_t>(step),
                                static_cast<uint64_t>(row)));
    const int64_t position = kPositionOffset + PositionOffset(options_, context_, &random);
    int64_t* positions = batch.positions.data_ptr<int64_t>() + row * context_;
    std::iota(positions, positions + context_, position);
  }
  return batch;
}

}  // namespace mixrec::model
