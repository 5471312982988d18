#include "worker/memory.h"

#include <c10/core/CachingDeviceAllocator.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "common/progress_text.h"
#include "data/batcher.h"
#include "model/mixrec_model.h"

namespace mixrec::worker {
namespace {

constexpr int64_t kFp32 = 4;

int64_t DenseElements(const MemoryInputs& inputs) {
  const int64_t items = inputs.servers ? 0 : inputs.items;
  int64_t elements = 0;
  for (const auto& spec : model::TrainableSpecs(inputs.backbone, inputs.options, items)) {
    elements +=
        std::accumulate(spec.shape.begin(), spec.shape.end(), int64_t{1}, std::multiplies<>());
  }
  return elements;
}

// What a layer keeps for its backward pass, in elements a stream row (model/layer.h, LayerSaved).
int64_t SavedPerRow(const MemoryInputs& inputs) {
  const int64_t width = inputs.backbone.hidden;
  return 13 * width + inputs.backbone.ffn + 3 * inputs.options.bottleneck;
}

int64_t ActivationBytes(const MemoryInputs& inputs) {
  const int64_t element = static_cast<int64_t>(c10::elementSize(inputs.dtype));
  const int64_t width = inputs.backbone.hidden;
  const int64_t layers = inputs.training ? inputs.backbone.layers : 1;
  const int64_t workspace = 8 * width + 2 * inputs.backbone.ffn;
  const int64_t stream = inputs.batch_tokens * (SavedPerRow(inputs) * layers + workspace) * element;
  const int64_t chunk =
      inputs.servers ? 0 : std::min(inputs.read_rows * inputs.items, int64_t{1} << 26);
  return stream + 3 * inputs.read_rows * width * kFp32 + 3 * chunk * kFp32;
}

}  // namespace

MemoryEstimate EstimateMemory(const MemoryInputs& inputs) {
  MemoryEstimate estimate;
  estimate.backbone = model::BackboneBytes(inputs.backbone, inputs.dtype);
  const int64_t compute_copy =
      inputs.dtype == at::kFloat ? 0 : static_cast<int64_t>(c10::elementSize(inputs.dtype));
  const int64_t dense = inputs.training ? 4 * kFp32 : 2 * kFp32;  // value, gradient, two moments
  estimate.parameters = DenseElements(inputs) * (dense + compute_copy);
  if (inputs.options.has_cf() && !inputs.servers) {
    const int64_t copies = inputs.training ? 3 : 1;
    estimate.tables =
        (inputs.users + inputs.items) * (inputs.options.cf_width() * copies + 1) * kFp32;
  }
  estimate.activations = ActivationBytes(inputs);
  return estimate;
}

std::string Describe(const MemoryEstimate& estimate) {
  return StrCat(BytesText(estimate.total()), ": backbone ", BytesText(estimate.backbone),
                ", parameters with optimiser state ", BytesText(estimate.parameters),
                ", CF tables ", BytesText(estimate.tables), ", activations of the largest step ",
                BytesText(estimate.activations));
}

absl::Status CheckMemory(const MemoryEstimate& estimate, at::Device device, bool backbone_loaded) {
  const int64_t bytes = estimate.total() - (backbone_loaded ? estimate.backbone : 0);
  const std::string what = StrCat("this run (", Describe(estimate), ")");
  if (device.is_cpu()) return model::CheckHostMemory(what, bytes);
  const auto index = static_cast<c10::DeviceIndex>(device.has_index() ? device.index() : 0);
  const auto [free, total] = c10::getDeviceAllocator(device.type())->getMemoryInfo(index);
  if (bytes <= static_cast<int64_t>(free)) return absl::OkStatus();
  return MemoryError(what, " does not fit on the GPU: ", BytesText(bytes), " more are needed, ",
                     BytesText(static_cast<int64_t>(free)), " of ",
                     BytesText(static_cast<int64_t>(total)),
                     " are free; use a smaller --batch or --max_items, or --precision=bf16");
}

LargestStep LargestTrainingStep(const data::Dataset& dataset, const data::Catalogue& catalogue,
                                int64_t batch, int max_items, int queries_per_user, int negatives,
                                bool alignment) {
  struct Sequence {
    int64_t tokens, items;
  };
  std::vector<Sequence> sequences;
  for (const int32_t user : data::TrainableUsers(dataset)) {
    auto inputs = dataset.training_items(user);
    inputs.remove_suffix(1);
    if (inputs.size() > static_cast<size_t>(max_items)) {
      inputs.remove_prefix(inputs.size() - static_cast<size_t>(max_items));
    }
    sequences.push_back(
        {data::SequenceTokens(catalogue, inputs), static_cast<int64_t>(inputs.size())});
  }
  const auto count = std::min<size_t>(static_cast<size_t>(batch), sequences.size());
  std::partial_sort(sequences.begin(), sequences.begin() + static_cast<int64_t>(count),
                    sequences.end(),
                    [](const Sequence& a, const Sequence& b) { return a.tokens > b.tokens; });
  LargestStep step;
  for (size_t k = 0; k < count; ++k) {
    step.tokens += sequences[k].tokens;
    step.read_rows += sequences[k].items;
  }
  if (!alignment) return step;
  const int64_t documents = std::min<int64_t>(
      catalogue.items(), static_cast<int64_t>(count) * queries_per_user * (1 + negatives));
  step.tokens += documents * (catalogue.max_item_tokens() + 1) +
                 static_cast<int64_t>(catalogue.prompt_tokens().size());
  step.read_rows += documents;
  return step;
}

}  // namespace mixrec::worker
