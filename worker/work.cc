#include "worker/work.h"

#include <absl/strings/str_format.h>

#include <algorithm>

#include "common/status.h"
#include "data/batcher.h"
#include "model/architecture.h"

namespace mixrec::worker {
namespace {

using model::AdapterSite;

// FLOPs forwards.
struct Forward {
  double frozen = 0, adapters = 0, attention = 0;
};

// Whether scoring has the adapter inside a frozen matrix.
bool Folds(const WorkInputs& inputs, int damoe_layer, AdapterSite site) {
  const model::ModelOptions& options = inputs.options;
  if (options.adapter_activation != model::AdapterActivation::kNone) return false;
  const std::string& bits = options.architecture;
  const int layers =
      model::DamoeLayers(static_cast<int>(inputs.backbone.layers), options.replace_every);
  return bits.empty() ||
         !model::Architecture::Parse(bits, layers).value().parallel(damoe_layer, site);
}

// Adapters of a row in a DAMoE layer that are products of their own, and the gate's product.
double AdapterFlops(const WorkInputs& inputs, int damoe_layer, bool folded) {
  const double hidden = static_cast<double>(inputs.backbone.hidden);
  const double adapter = 4.0 * hidden * static_cast<double>(inputs.options.bottleneck);
  double flops = inputs.options.has_damoe() ? 8.0 * hidden : 0.0;
  for (const AdapterSite site :
       {AdapterSite::kCausal, AdapterSite::kContext, AdapterSite::kRecommendation}) {
    if (site == AdapterSite::kContext && !inputs.options.has_damoe()) continue;
    if (!folded || !Folds(inputs, damoe_layer, site)) flops += adapter;
  }
  return flops;
}

// One layer; `last`: all but keys and values is of the rows that are read.
Forward LayerForward(const WorkInputs& inputs, const RowCounts& counts, int layer, bool folded) {
  const double hidden = static_cast<double>(inputs.backbone.hidden);
  const double ffn = static_cast<double>(inputs.backbone.ffn);
  const bool last = layer + 1 == static_cast<int>(inputs.backbone.layers);
  const bool adapted = inputs.options.mode != model::Mode::kLlmrec &&
                       model::IsDamoeLayer(layer, inputs.options.replace_every);
  const bool damoe = adapted && inputs.options.has_damoe();
  const double rows = last ? counts.read : counts.rows;
  const double share = counts.rows > 0 ? rows / counts.rows : 0.0;
  const double experts = damoe ? 2.0 : 1.0;  // each with its output projection
  Forward flops;
  flops.frozen = 4.0 * hidden * hidden * counts.rows +
                 ((2.0 + 2.0 * experts) * hidden * hidden + 4.0 * hidden * ffn) * rows;
  const bool context = damoe && inputs.options.mode == model::Mode::kMixrec;
  flops.attention = 4.0 * hidden * share * (counts.causal + (context ? counts.context : 0.0));
  if (adapted) {
    const int number = (layer + 1) / inputs.options.replace_every - 1;
    flops.adapters = AdapterFlops(inputs, number, folded) * rows;
  }
  return flops;
}

// `frozen`, `others`: how often products count, backwards included.
void Add(const WorkInputs& inputs, const RowCounts& counts, bool folded, double frozen,
         double others, WorkEstimate* estimate) {
  for (int layer = 0; layer < static_cast<int>(inputs.backbone.layers); ++layer) {
    const Forward flops = LayerForward(inputs, counts, layer, folded);
    estimate->frozen += frozen * flops.frozen;
    estimate->adapters += others * flops.adapters;
    estimate->attention += others * flops.attention;
  }
  estimate->items +=
      others * 2.0 * static_cast<double>(inputs.backbone.hidden) * inputs.items * counts.ranked;
}

// Adds a document of so many rows and items.
void AddDocument(double rows, double items, RowCounts* counts) {
  counts->rows += rows;
  counts->read += items;
  counts->causal += rows * (rows + 1) / 2;
  counts->context += rows * (rows / std::max(items, 1.0) + 1);  // and a column
}

absl::Span<const int32_t> Latest(absl::Span<const int32_t> items, int max_items) {
  const auto most = static_cast<size_t>(max_items);
  return items.size() > most ? items.subspan(items.size() - most) : items;
}

std::string FlopText(double flops) { return absl::StrFormat("%.4g TFLOP", flops * 1e-12); }

}  // namespace

WorkEstimate EstimateWork(const WorkInputs& inputs) {
  WorkEstimate estimate;
  Add(inputs, inputs.trained, /*folded=*/false, 2.0, 3.0, &estimate);
  Add(inputs, inputs.scored, /*folded=*/true, 1.0, 1.0, &estimate);
  return estimate;
}

std::string Describe(const WorkEstimate& estimate) {
  return StrCat(FlopText(estimate.total()), ": frozen weights ", FlopText(estimate.frozen),
                ", adapters ", FlopText(estimate.adapters), ", attention ",
                FlopText(estimate.attention), ", scores of items ", FlopText(estimate.items));
}

RowCounts TrainedRows(const data::Dataset& dataset, const data::Catalogue& catalogue, int max_items,
                      int queries_per_user, int negatives, bool alignment) {
  RowCounts counts;
  const double item = 1.0 + static_cast<double>(catalogue.total_tokens()) /
                                std::max(1.0, static_cast<double>(catalogue.items()));
  const auto prompt = static_cast<double>(catalogue.prompt_tokens().size());
  for (const int32_t user : data::TrainableUsers(dataset)) {
    auto items = dataset.training_items(user);
    items.remove_suffix(1);
    items = Latest(items, max_items);
    AddDocument(static_cast<double>(data::SequenceTokens(catalogue, items)),
                static_cast<double>(items.size()), &counts);
    counts.ranked += static_cast<double>(items.size());
    if (!alignment) continue;
    const int documents = queries_per_user * (1 + negatives);
    for (int k = 0; k < documents; ++k) AddDocument(item, 1, &counts);
    counts.causal += documents * item * prompt;  // which is there once a step
  }
  return counts;
}

RowCounts ScoredRows(const data::Dataset& dataset, const data::Catalogue& catalogue,
                     int max_items) {
  RowCounts counts;
  for (const int32_t user : data::TrainableUsers(dataset)) {
    const auto items = Latest(dataset.training_items(user), max_items);
    RowCounts one;
    AddDocument(static_cast<double>(data::SequenceTokens(catalogue, items)),
                static_cast<double>(items.size()), &one);
    counts.rows += one.rows;
    counts.causal += one.causal;
    counts.context += one.context;
    counts.read += 1;
    counts.ranked += 1;
  }
  return counts;
}

RowCounts Times(const RowCounts& counts, double factor) {
  return {counts.rows * factor, counts.read * factor, counts.causal * factor,
          counts.context * factor, counts.ranked * factor};
}

}  // namespace mixrec::worker
