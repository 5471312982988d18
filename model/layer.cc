#include "model/layer.h"

#include <algorithm>

#include "common/log.h"
#include "model/architecture.h"

namespace mixrec::model {
Layer::Layer(const OptConfig& config, const OptLayer& weights,
             const std::vector<LayerModel>& models, int damoe, int layer)
    : kind_(damoe < 0                                   ? Kind::kPlain
            : models.at(0).options->mode == Mode::kBase ? Kind::kBase
                                                        : Kind::kDamoe),
      heads_(config.heads),
      pre_norm_(config.pre_layer_norm),
      shared_attention_(models.at(0).options->mode == Mode::kMoe),
      layer_(layer),
      w_(weights) {
  for (const LayerModel& model : models) {
    CHECK(model.options->mode == models[0].options->mode) << "models side by side of two modes";
    own_.push_back(OwnOf(model, damoe));
  }
}

Layer::Own Layer::OwnOf(const LayerModel& model, int damoe) const {
  Own own;
  const ModelOptions& options = *model.options;
  own.dropout = options.dropout;
  own.side = model.side;
  if (kind_ == Kind::kPlain) return own;
  const std::string name = "damoe." + std::to_string(damoe) + ".";
  const auto adapter = [&](const char* site, bool parallel) {
    return Adapter(name + site, options, parallel, *model.parameters);
  };
  if (kind_ == Kind::kBase) {
    own.causal = adapter("attn", false);
    own.recommendation = adapter("rec", false);
    return own;
  }
  const Architecture bits =
      *Architecture::Parse(options.architecture, static_cast<int>(options.architecture.size()) / 3);
  own.causal = adapter("causal", bits.parallel(damoe, AdapterSite::kCausal));
  own.context = adapter("context", bits.parallel(damoe, AdapterSite::kContext));
  own.recommendation = adapter("rec", bits.parallel(damoe, AdapterSite::kRecommendation));
  own.gate_weight = model.parameters->value(name + "gate.weight");
  own.gate_bias = model.parameters->value(name + "gate.bias");
  own.d_gate_weight = model.parameters->gradient(name + "gate.weight");
  own.d_gate_bias = model.parameters->gradient(name + "gate.bias");
  return own;
}

bool Layer::AnyParallel(Adapter Own::*adapter) const {
  return std::any_of(own_.begin(), own_.end(),
                     [&](const Own& own) { return (own.*adapter).parallel(); });
}

void Layer::Fold() {
  CHECK_EQ(own_.size(), 1u);
  Own& own = own_[0];
  if (own.causal.folds()) own.folded.causal = own.causal.Fold(w_.out_weight, w_.out_bias);
  if (own.context.folds()) own.folded.context = own.context.Fold(w_.out_weight, w_.out_bias);
  if (own.recommendation.folds()) {
    own.folded.recommendation = own.recommendation.Fold(w_.fc2_weight, w_.fc2_bias);
  }
}

Dropout Layer::BranchDropout(const Streams& streams, int64_t model, bool trimmed,
                             int branch) const {
  Dropout dropout;
  const Stream& stream = streams.of(model);
  const at::Tensor& keys = trimmed ? stream.read_keys : stream.all_keys;
  if (kind_ == Kind::kPlain || !keys.defined()) return dropout;
  dropout.probability = own(model).dropout;
  dropout.row_keys = keys;
  dropout.site = static_cast<uint64_t>(2 * layer_ + branch + 1);
  return dropout;
}

FollowingNorm Layer::NormAfter(const at::Tensor& sum, const at::Tensor& weight,
                               const at::Tensor& bias) {
  const auto fp32 = sum.options().dtype(at::kFloat);
  return {weight, bias, at::empty_like(sum), at::empty({sum.size(0)}, fp32),
          at::empty({sum.size(0)}, fp32)};
}

FollowingNorm Layer::PartOf(const Streams& streams, int64_t model, bool trimmed,
                            const FollowingNorm& norm) {
  if (!norm.weight.defined()) return {};
  const auto part = [&](const at::Tensor& x) { return streams.Part(model, trimmed, x); };
  return {norm.weight, norm.bias, part(norm.y), part(norm.mean), part(norm.rstd)};
}

void Layer::Join() const {
  for (const Own& own : own_) own.side->Join();
}

at::Tensor Layer::Normalise(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                            at::Tensor* mean, at::Tensor* rstd) const {
  at::Tensor y = at::empty(x.sizes(), x.options());
  *mean = at::empty({x.size(0)}, x.options().dtype(at::kFloat));
  *rstd = at::empty_like(*mean);
  LayerNormForward(x, weight, bias, y, *mean, *rstd);
  return y;
}

}  // namespace mixrec::model
