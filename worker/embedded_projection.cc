#include "worker/embedded_projection.h"

#include <limits>
#include <utility>

#include "common/log.h"
#include "tensor/from_host.h"
#include "tensor/softmax.h"

namespace mixrec::worker {
namespace {

constexpr char kWeight[] = "item_proj.weight", kBias[] = "item_proj.bias";
constexpr float kLowest = -std::numeric_limits<float>::infinity();

// [N, items] true where an excluded item stands; undefined without lists.
at::Tensor MaskOf(const ItemLists& excluded, int64_t items, at::Device device) {
  if (excluded.empty()) return {};
  at::Tensor mask = at::zeros({static_cast<int64_t>(excluded.size()), items}, at::kBool);
  auto rows = mask.accessor<bool, 2>();
  for (size_t row = 0; row < excluded.size(); ++row) {
    for (const int32_t item : excluded[row]) rows[static_cast<int64_t>(row)][item] = true;
  }
  return mask.to(device);
}

}  // namespace

EmbeddedItemProjection::EmbeddedItemProjection(std::vector<model::ParameterSpec> specs,
                                               at::Device device, at::ScalarType compute_dtype,
                                               const tensor::AdamWOptions& optimizer)
    : parameters_(std::move(specs), device, compute_dtype), options_(optimizer) {
  CHECK(parameters_.has(kWeight) && parameters_.has(kBias));
}

void EmbeddedItemProjection::PrepareTraining(collective::Group* group) {
  optimizer_.emplace(options_, &parameters_);
  if (group != nullptr) split_.emplace(group, parameters_.value(kBias).size(0));
}

absl::Status EmbeddedItemProjection::Initialise(uint64_t seed) {
  parameters_.Initialise(seed);
  return absl::OkStatus();
}

absl::StatusOr<CrossEntropies> EmbeddedItemProjection::CrossEntropy(
    int64_t step, const at::Tensor& states, const std::vector<int32_t>& labels,
    const at::Tensor& weights) {
  step_ = step;
  const at::Tensor label_tensor = tensor::IndexTensor(labels, states.device());
  if (split_) return SplitCrossEntropy(states, label_tensor, weights);
  parameters_.ZeroGradient();
  return CrossEntropyOf(states, label_tensor, weights);
}

absl::StatusOr<CrossEntropies> EmbeddedItemProjection::SplitCrossEntropy(
    const at::Tensor& states, const at::Tensor& labels, const at::Tensor& weights) {
  const int64_t first = split_->first_item(), count = split_->last_item() - first;
  const auto own = [&](const at::Tensor& all) { return all.narrow(0, first, count); };
  const ItemSlice slice{own(parameters_.compute(kWeight)), own(parameters_.value(kBias)),
                        own(parameters_.gradient(kWeight)), own(parameters_.gradient(kBias))};
  slice.d_weight.zero_();
  slice.d_bias.zero_();
  return split_->CrossEntropy(step_, states_of_ranks_, states, labels, weights, slice);
}

CrossEntropies EmbeddedItemProjection::CrossEntropyOf(const at::Tensor& states,
                                                      const at::Tensor& labels,
                                                      const at::Tensor& weights) {
  CrossEntropies result;
  result.values = tensor::SoftmaxCrossEntropy(
      states, parameters_.compute(kWeight), parameters_.value(kBias), labels, weights,
      &result.d_states, parameters_.gradient(kWeight), parameters_.gradient(kBias));
  return result;
}

void EmbeddedItemProjection::Step(const at::Tensor& schedule, const at::Tensor& total) {
  CHECK(optimizer_.has_value());
  if (!split_) return optimizer_->Step(schedule, total);
  settled_ = false;
  ForEachOwnRange(
      [&](int64_t first, int64_t last) { optimizer_->StepRange(schedule, total, first, last); });
}

void EmbeddedItemProjection::ForEachOwnRange(
    const std::function<void(int64_t, int64_t)>& step) const {
  const int64_t first = split_->first_item(), last = split_->last_item();
  const int64_t width = parameters_.value(kWeight).size(1);
  for (const auto& [name, row] : {std::pair(kWeight, width), std::pair(kBias, int64_t{1})}) {
    const int64_t start = parameters_.RangeOf(name).first;
    step(start + first * row, start + last * row);
  }
}

absl::Status EmbeddedItemProjection::StartUpdate(double learning_rate) {
  learning_rate_ = learning_rate;
  return absl::OkStatus();
}

absl::Status EmbeddedItemProjection::FinishUpdate() {
  CHECK(optimizer_.has_value());
  if (!split_) {
    optimizer_->Step(step_, learning_rate_);
    return absl::OkStatus();
  }
  settled_ = false;
  ForEachOwnRange([&](int64_t first, int64_t last) {
    optimizer_->StepRange(step_, learning_rate_, first, last);
  });
  return absl::OkStatus();
}

absl::Status EmbeddedItemProjection::Settle() {
  if (settled_) return absl::OkStatus();
  std::vector<at::Tensor> tensors;
  for (const auto& [name, tensor] : Values()) tensors.push_back(tensor);
  for (const auto& [name, tensor] : OptimizerState()) tensors.push_back(tensor);
  MIXREC_RETURN_IF_ERROR(split_->GatherRows(tensors));
  parameters_.RefreshCompute();
  settled_ = true;
  return absl::OkStatus();
}

absl::StatusOr<std::vector<int64_t>> EmbeddedItemProjection::Ranks(
    int64_t /*step*/, const at::Tensor& states, const std::vector<int32_t>& targets,
    const ItemLists& excluded) {
  const at::Tensor scores = Scores(states);
  const at::Tensor ranks =
      tensor::RankOfTargets(scores, tensor::IndexTensor(targets, states.device()),
                            MaskOf(excluded, scores.size(1), states.device()))
          .to(at::kCPU, at::kLong)
          .contiguous();
  return std::vector<int64_t>(ranks.data_ptr<int64_t>(), ranks.data_ptr<int64_t>() + ranks.numel());
}

absl::StatusOr<RankedItems> EmbeddedItemProjection::TopK(int64_t /*step*/, const at::Tensor& states,
                                                         int64_t k, const ItemLists& excluded) {
  at::Tensor scores = Scores(states);
  const at::Tensor mask = MaskOf(excluded, scores.size(1), states.device());
  if (mask.defined()) scores.masked_fill_(mask, kLowest);
  const auto [items, best] = tensor::TopK(scores, k);
  RankedItems result{items.to(at::kCPU, at::kInt), best.cpu()};
  result.items.masked_fill_(result.scores.eq(kLowest), -1);
  return result;
}

model::NamedTensors EmbeddedItemProjection::Values() const {
  return {{kWeight, parameters_.value(kWeight)}, {kBias, parameters_.value(kBias)}};
}

model::NamedTensors EmbeddedItemProjection::OptimizerState() const {
  return optimizer_ ? optimizer_->State() : model::NamedTensors();
}

at::Tensor EmbeddedItemProjection::Scores(const at::Tensor& states) const {
  return tensor::ItemScores(states, parameters_.compute(kWeight), parameters_.value(kBias));
}

}  // namespace mixrec::worker
