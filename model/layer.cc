#include "model/layer.h"

#include <algorithm>

#include "common/log.h"
#include "model/architecture.h"
#include "tensor/phase.h"

namespace mixrec::model {
namespace {

using tensor::Phase;
using tensor::Product;

// Rows of x that the layer's queries stand on.
at::Tensor QueryRows(const Streams& streams, bool trimmed, const at::Tensor& x) {
  return trimmed ? x.index_select(0, streams.read_rows()) : x;
}

}  // namespace

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

at::Tensor Layer::Normalise(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                            at::Tensor* mean, at::Tensor* rstd) const {
  at::Tensor y = at::empty(x.sizes(), x.options());
  *mean = at::empty({x.size(0)}, x.options().dtype(at::kFloat));
  *rstd = at::empty_like(*mean);
  LayerNormForward(x, weight, bias, y, *mean, *rstd);
  return y;
}

at::Tensor Layer::Forward(const Streams& streams, const Columns& columns, const at::Tensor& x,
                          bool trimmed, LayerSaved* saved) const {
  const Phase phase("mixrec::forward/projections");
  saved->trimmed = trimmed;
  saved->x = x;
  saved->own.resize(own_.size());
  const at::Tensor a =
      pre_norm_ ? Normalise(x, w_.ln1_weight, w_.ln1_bias, &saved->mean1, &saved->rstd1) : x;
  const at::Tensor query_a = QueryRows(streams, trimmed, a);
  Project(a, query_a, saved);
  Attend(streams, columns, saved);
  const at::Tensor sum1 = Mix(streams, QueryRows(streams, trimmed, x), query_a, saved);
  if (pre_norm_) {
    saved->y = sum1;
  } else {
    saved->sum1 = sum1;
    saved->y = Normalise(sum1, w_.ln1_weight, w_.ln1_bias, &saved->mean1, &saved->rstd1);
  }
  const at::Tensor sum2 = FeedForward(streams, saved);
  if (pre_norm_) return sum2;
  saved->sum2 = sum2;
  return Normalise(sum2, w_.ln2_weight, w_.ln2_bias, &saved->mean2, &saved->rstd2);
}

// Queries, keys and values.
void Layer::Project(const at::Tensor& a, const at::Tensor& query_a, LayerSaved* saved) const {
  const int64_t width = a.size(1);
  if (saved->trimmed) {
    saved->q = Product(query_a, w_.qkv_weight.narrow(0, 0, width), w_.qkv_bias.narrow(0, 0, width));
    const at::Tensor kv = Product(a, w_.qkv_weight.narrow(0, width, 2 * width),
                                  w_.qkv_bias.narrow(0, width, 2 * width));
    saved->k = kv.narrow(1, 0, width);
    saved->v = kv.narrow(1, width, width);
  } else {
    const at::Tensor qkv = Product(a, w_.qkv_weight, w_.qkv_bias);
    saved->q = qkv.narrow(1, 0, width);
    saved->k = qkv.narrow(1, width, width);
    saved->v = qkv.narrow(1, 2 * width, width);
  }
}

AttentionInputs Layer::InputsOf(const Streams& streams, int64_t model, const LayerSaved& saved,
                                bool context) const {
  AttentionInputs inputs;
  inputs.q = streams.Part(model, saved.trimmed, saved.q);
  inputs.k = streams.Part(model, /*trimmed=*/false, saved.k);
  inputs.v = streams.Part(model, /*trimmed=*/false, saved.v);
  inputs.heads = heads_;
  inputs.context = context;
  if (saved.column_kv.defined() && context) {
    const int64_t width = saved.k.size(1);
    const at::Tensor columns = streams.ColumnPart(model, saved.column_kv);
    inputs.column_k = columns.narrow(1, 0, width);
    inputs.column_v = columns.narrow(1, width, width);
  }
  return inputs;
}

void Layer::Attend(const Streams& streams, const Columns& columns, LayerSaved* saved) const {
  const int64_t width = saved->q.size(1), queries = saved->q.size(0);
  const bool context = kind_ == Kind::kDamoe && !shared_attention_;
  if (context && columns.c.defined()) {
    const at::Tensor normal = pre_norm_ ? Normalise(columns.c, w_.ln1_weight, w_.ln1_bias,
                                                    &saved->column_mean, &saved->column_rstd)
                                        : columns.c;
    saved->column_kv = Product(normal, w_.qkv_weight.narrow(0, width, 2 * width),
                               w_.qkv_bias.narrow(0, width, 2 * width));
  }
  const int64_t experts = context ? 2 : 1;
  saved->attention = at::empty({experts * queries, width}, saved->q.options());
  {
    const Phase phase("mixrec::forward/attention");
    streams.Each([&](int64_t model) {
      const at::Tensor out = streams.Experts(model, saved->trimmed, saved->attention);
      at::Tensor& log_sum_exp = saved->own[static_cast<size_t>(model)].log_sum_exp;
      log_sum_exp = at::empty({experts, out.size(1), heads_}, saved->q.options().dtype(at::kFloat));
      AttentionForward(InputsOf(streams, model, *saved, context),
                       streams.LayoutOf(model, saved->trimmed), out, log_sum_exp);
    });
  }
  saved->projected = ProjectAttention(streams, *saved);
}

at::Tensor Layer::ProjectAttention(const Streams& streams, const LayerSaved& saved) const {
  const auto& folded = own_[0].folded;
  if (!folded.causal.weight.defined() && !folded.context.weight.defined()) {
    return Product(saved.attention, w_.out_weight, w_.out_bias);
  }
  const at::Tensor attention = streams.Experts(0, saved.trimmed, saved.attention);
  const int64_t experts = attention.size(0), queries = attention.size(1);
  const int64_t branches = kind_ == Kind::kDamoe ? 2 : 1;
  const at::Tensor projected =
      at::empty({branches * queries, attention.size(2)}, saved.attention.options());
  for (int64_t i = 0; i < branches; ++i) {
    const Adapter::Folded& expert = i == 0 ? folded.causal : folded.context;
    const bool whole = expert.weight.defined();
    Product(attention[std::min(i, experts - 1)], whole ? expert.weight : w_.out_weight,
            whole ? expert.bias : w_.out_bias, {}, projected.narrow(0, i * queries, queries));
  }
  return projected;
}

at::Tensor Layer::Mix(const Streams& streams, const at::Tensor& residual, const at::Tensor& a,
                      LayerSaved* saved) const {
  const Phase phase("mixrec::forward/experts and gate");
  at::Tensor sum = at::empty(residual.sizes(), residual.options());
  if (kind_ == Kind::kPlain) {
    at::add_out(sum, residual, saved->projected);
    return sum;
  }
  streams.Each([&](int64_t model) {
    const auto part = [&](const at::Tensor& x) { return streams.Part(model, saved->trimmed, x); };
    MixOwn(streams, model, part(residual), part(a), part(sum), saved);
  });
  return sum;
}

void Layer::MixOwn(const Streams& streams, int64_t model, const at::Tensor& residual,
                   const at::Tensor& a, const at::Tensor& sum, LayerSaved* saved) const {
  const Own& own = own_[static_cast<size_t>(model)];
  LayerSaved::Own& kept = saved->own[static_cast<size_t>(model)];
  const Dropout dropout = BranchDropout(streams, model, saved->trimmed, 0);
  const at::Tensor projected = streams.Experts(model, saved->trimmed, saved->projected);
  const auto expert = [&](const Adapter& adapter, const Adapter::Folded& folded,
                          const at::Tensor& attended, Adapter::Saved* adapter_saved) {
    if (folded.weight.defined()) return Branch{attended, {}, {}, 1.0};
    return adapter.Forward(adapter.parallel() ? a : attended, attended, adapter_saved);
  };
  kept.causal_value = expert(own.causal, own.folded.causal, projected[0], &kept.causal);
  if (kind_ == Kind::kBase) {
    ResidualForward(kept.causal_value, residual, dropout, sum);
    kept.causal_value = Branch();
    return;
  }
  kept.context_value =
      expert(own.context, own.folded.context, projected[projected.size(0) - 1], &kept.context);
  kept.beta = at::empty({sum.size(0), 2}, sum.options().dtype(at::kFloat));
  GateForward(&kept.causal_value, &kept.context_value, own.gate_weight, own.gate_bias, residual,
              dropout, sum, kept.beta);
}

at::Tensor Layer::FeedForward(const Streams& streams, LayerSaved* saved) const {
  const Phase phase("mixrec::forward/feed-forward");
  const at::Tensor& y = saved->y;
  const at::Tensor f =
      pre_norm_ ? Normalise(y, w_.ln2_weight, w_.ln2_bias, &saved->mean2, &saved->rstd2) : y;
  saved->activated = tensor::ReluProduct(f, w_.fc1_weight, w_.fc1_bias);
  if (kind_ == Kind::kPlain) {
    return Product(saved->activated, w_.fc2_weight, w_.fc2_bias, y);
  }
  const Adapter::Folded& folded = own_[0].folded.recommendation;
  if (folded.weight.defined()) return Product(saved->activated, folded.weight, folded.bias, y);
  saved->ffn = Product(saved->activated, w_.fc2_weight, w_.fc2_bias);
  at::Tensor sum = at::empty(y.sizes(), y.options());
  streams.Each([&](int64_t model) {
    const auto part = [&](const at::Tensor& x) { return streams.Part(model, saved->trimmed, x); };
    const Adapter& adapter = own(model).recommendation;
    const at::Tensor ffn = part(saved->ffn);
    const Branch branch = adapter.Forward(adapter.parallel() ? part(f) : ffn, ffn,
                                          &saved->own[static_cast<size_t>(model)].recommendation);
    ResidualForward(branch, part(y), BranchDropout(streams, model, saved->trimmed, 1), part(sum));
  });
  return sum;
}

}  // namespace mixrec::model
