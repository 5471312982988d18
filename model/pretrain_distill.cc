#include "model/pretrain_distill.h"

#include <algorithm>
#include <numeric>

#include "common/log.h"
#include "common/random.h"
#include "model/pretrain_batches.h"

namespace mixrec::model {
namespace {

constexpr int64_t kPositionOffset = 2;  // the first row of the position table that is used
constexpr int64_t kPadding = 1;         // <pad>

// One sequence: its tokens, and for each of them its text's number in the sequence.
struct Sequence {
  std::vector<int64_t> tokens, groups;
  std::vector<int64_t> ends;  // rows of [SEQ]
};

// Masks of sequences padded to T tokens; padding has the group -1.
at::Tensor CausalMask(const at::Tensor& groups) {
  const int64_t tokens = groups.size(1);
  const at::Tensor real = groups.ge(0);
  const at::Tensor before = at::ones({tokens, tokens}, at::kBool).tril();
  const at::Tensor self = at::eye(tokens, at::kBool);
  return ((before.unsqueeze(0) & real.unsqueeze(1) & real.unsqueeze(2)) | self).unsqueeze(1);
}

at::Tensor ContextMask(const at::Tensor& groups) {
  const at::Tensor same = groups.unsqueeze(1).eq(groups.unsqueeze(2));
  const at::Tensor self = at::eye(groups.size(1), at::kBool);
  return ((same & groups.ge(0).unsqueeze(1)) | self).unsqueeze(1);
}

}  // namespace

DistillBatches::DistillBatches(const PretrainOptions& options, const PretrainInputs& inputs,
                               int64_t vocabulary)
    : options_(options), inputs_(inputs), vocabulary_(vocabulary) {
  order_.resize(inputs.distilled.size());
}

int64_t DistillBatches::Text(int64_t k) {
  const auto texts = static_cast<int64_t>(order_.size());
  if (const int64_t round = k / texts; round != round_) {
    round_ = round;
    std::iota(order_.begin(), order_.end(), int64_t{0});
    RandomStream random(HashKey(options_.seed, "distill.order", static_cast<uint64_t>(round)));
    for (size_t i = order_.size(); i > 1; --i) std::swap(order_[i - 1], order_[random.Below(i)]);
  }
  return order_[static_cast<size_t>(k % texts)];
}

DistillBatch DistillBatches::At(int64_t step) {
  const DistillOptions& distill = options_.distill;
  std::vector<Sequence> sequences(static_cast<size_t>(distill.sequences));
  std::vector<int64_t> documents;
  int64_t next = step * distill.sequences * distill.texts;
  size_t longest = 0;
  for (Sequence& sequence : sequences) {
    for (int64_t group = 0; group < distill.texts; ++group) {
      documents.push_back(Text(next++));
      const auto& text = inputs_.distilled[static_cast<size_t>(documents.back())];
      const auto length = std::min(text.size(), static_cast<size_t>(distill.text_tokens));
      sequence.tokens.insert(sequence.tokens.end(), text.begin(),
                             text.begin() + static_cast<std::ptrdiff_t>(length));
      sequence.tokens.push_back(vocabulary_);
      sequence.groups.resize(sequence.tokens.size(), group);
      sequence.ends.push_back(static_cast<int64_t>(sequence.tokens.size()) - 1);
    }
    longest = std::max(longest, sequence.tokens.size());
  }

  const auto tokens = static_cast<int64_t>(longest);
  DistillBatch batch;
  batch.inputs = at::full({distill.sequences, tokens}, kPadding, at::kLong);
  batch.positions = at::empty({distill.sequences, tokens}, at::kLong);
  at::Tensor groups = at::full({distill.sequences, tokens}, -1, at::kLong);
  std::vector<int64_t> rows;
  for (size_t k = 0; k < sequences.size(); ++k) {
    const Sequence& sequence = sequences[k];
    const int64_t begin = static_cast<int64_t>(k) * tokens;
    std::copy(sequence.tokens.begin(), sequence.tokens.end(),
              batch.inputs.data_ptr<int64_t>() + begin);
    std::copy(sequence.groups.begin(), sequence.groups.end(), groups.data_ptr<int64_t>() + begin);
    RandomStream random(HashKey(options_.seed, "distill.offset", static_cast<uint64_t>(step), k));
    int64_t* positions = batch.positions.data_ptr<int64_t>() + begin;
    std::iota(positions, positions + tokens,
              kPositionOffset + PositionOffset(options_, tokens, &random));
    for (const int64_t end : sequence.ends) rows.push_back(begin + end);
  }
  batch.causal = CausalMask(groups);
  batch.context = ContextMask(groups);
  batch.sequence_rows = at::tensor(rows, at::kLong);
  batch.documents = at::tensor(documents, at::kLong);
  return batch;
}

DistillLoss DistillationLoss(const DistillOptions& options, const at::Tensor& heads,
                             const at::Tensor& targets) {
  const at::Tensor directions =
      heads / at::linalg_vector_norm(heads, 2, {1}, /*keepdim=*/true).clamp_min(1e-12);
  const at::Tensor cosines = directions.matmul(targets.t());  // [M, M]
  const at::Tensor labels = at::arange(heads.size(0), heads.options().dtype(at::kLong));
  const at::Tensor cosine = cosines.diagonal().mean();
  const at::Tensor contrast = at::cross_entropy_loss(cosines / options.temperature, labels);
  return {options.weight * (1 - cosine) + options.contrast_weight * contrast, cosine.detach()};
}

}  // namespace mixrec::model
