#include "model/layer.h"

#include <algorithm>

#include "common/log.h"
#include "model/architecture.h"
#include "tensor/phase.h"

namespace mixrec::model {
namespace {

using tensor::InputGradient;
using tensor::Phase;
using tensor::Product;

// Rows of x that the layer's queries stand on.
at::Tensor QueryRows(const Stream& stream, bool trimmed, const at::Tensor& x) {
  return trimmed ? x.index_select(0, stream.read_rows) : x;
}

}  // namespace

Layer::Layer(const OptConfig& config, const OptLayer& weights, const ModelOptions& options,
             int damoe, int layer, const DenseParameters& parameters)
    : kind_(damoe < 0                     ? Kind::kPlain
            : options.mode == Mode::kBase ? Kind::kBase
                                          : Kind::kDamoe),
      heads_(config.heads),
      pre_norm_(config.pre_layer_norm),
      shared_attention_(options.mode == Mode::kMoe),
      dropout_(options.dropout),
      layer_(layer),
      w_(weights) {
  if (kind_ == Kind::kPlain) return;
  const std::string name = "damoe." + std::to_string(damoe) + ".";
  const auto adapter = [&](const char* site, bool parallel) {
    return Adapter(name + site, options, parallel, parameters);
  };
  if (kind_ == Kind::kBase) {
    causal_ = adapter("attn", false);
    recommendation_ = adapter("rec", false);
    return;
  }
  const Architecture bits =
      *Architecture::Parse(options.architecture, static_cast<int>(options.architecture.size()) / 3);
  causal_ = adapter("causal", bits.parallel(damoe, AdapterSite::kCausal));
  context_ = adapter("context", bits.parallel(damoe, AdapterSite::kContext));
  recommendation_ = adapter("rec", bits.parallel(damoe, AdapterSite::kRecommendation));
  gate_weight_ = parameters.value(name + "gate.weight");
  gate_bias_ = parameters.value(name + "gate.bias");
  d_gate_weight_ = parameters.gradient(name + "gate.weight");
  d_gate_bias_ = parameters.gradient(name + "gate.bias");
}

void Layer::Fold() {
  if (causal_.folds()) folded_.causal = causal_.Fold(w_.out_weight, w_.out_bias);
  if (context_.folds()) folded_.context = context_.Fold(w_.out_weight, w_.out_bias);
  if (recommendation_.folds()) {
    folded_.recommendation = recommendation_.Fold(w_.fc2_weight, w_.fc2_bias);
  }
}

Dropout Layer::BranchDropout(const Stream& stream, bool trimmed, int branch) const {
  Dropout dropout;
  const at::Tensor& keys = trimmed ? stream.read_keys : stream.all_keys;
  if (kind_ == Kind::kPlain || !keys.defined()) return dropout;
  dropout.probability = dropout_;
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

// a = LN1(x) again, for the weight gradients of parallel adapters.
at::Tensor Layer::AttentionInput(const LayerSaved& saved) const {
  if (!pre_norm_) return saved.x;
  at::Tensor mean, rstd;
  return Normalise(saved.x, w_.ln1_weight, w_.ln1_bias, &mean, &rstd);
}

at::Tensor Layer::Forward(const Stream& stream, const Columns& columns, const at::Tensor& x,
                          bool trimmed, LayerSaved* saved) const {
  const Phase phase("mixrec::forward/projections");
  const int64_t width = x.size(1);
  saved->trimmed = trimmed;
  saved->x = x;
  const at::Tensor a =
      pre_norm_ ? Normalise(x, w_.ln1_weight, w_.ln1_bias, &saved->mean1, &saved->rstd1) : x;
  const at::Tensor query_a = QueryRows(stream, trimmed, a);
  if (trimmed) {
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
  Attend(stream, columns, saved);
  const at::Tensor sum1 = Mix(stream, QueryRows(stream, trimmed, x), query_a, saved);
  if (pre_norm_) {
    saved->y = sum1;
  } else {
    saved->sum1 = sum1;
    saved->y = Normalise(sum1, w_.ln1_weight, w_.ln1_bias, &saved->mean1, &saved->rstd1);
  }
  const at::Tensor sum2 = FeedForward(stream, saved);
  if (pre_norm_) return sum2;
  saved->sum2 = sum2;
  return Normalise(sum2, w_.ln2_weight, w_.ln2_bias, &saved->mean2, &saved->rstd2);
}

namespace {

AttentionInputs InputsOf(const LayerSaved& saved, int64_t heads, bool context) {
  AttentionInputs inputs;
  inputs.q = saved.q;
  inputs.k = saved.k;
  inputs.v = saved.v;
  inputs.heads = heads;
  inputs.context = context;
  if (saved.column_kv.defined() && context) {
    const int64_t width = saved.k.size(1);
    inputs.column_k = saved.column_kv.narrow(1, 0, width);
    inputs.column_v = saved.column_kv.narrow(1, width, width);
  }
  return inputs;
}

}  // namespace

void Layer::Attend(const Stream& stream, const Columns& columns, LayerSaved* saved) const {
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
  saved->attention = at::empty({experts, queries, width}, saved->q.options());
  saved->log_sum_exp = at::empty({experts, queries, heads_}, saved->q.options().dtype(at::kFloat));
  {
    const Phase phase("mixrec::forward/attention");
    AttentionForward(InputsOf(*saved, heads_, context), saved->trimmed ? stream.read : stream.all,
                     saved->attention, saved->log_sum_exp);
  }
  saved->projected = ProjectAttention(*saved);
}

at::Tensor Layer::ProjectAttention(const LayerSaved& saved) const {
  const int64_t experts = saved.attention.size(0), queries = saved.attention.size(1);
  const int64_t width = saved.attention.size(2);
  if (!folded_.causal.weight.defined() && !folded_.context.weight.defined()) {
    return Product(saved.attention.view({experts * queries, width}), w_.out_weight, w_.out_bias)
        .view({experts, queries, width});
  }
  const int64_t branches = kind_ == Kind::kDamoe ? 2 : 1;
  const at::Tensor projected = at::empty({branches, queries, width}, saved.attention.options());
  for (int64_t i = 0; i < branches; ++i) {
    const Adapter::Folded& folded = i == 0 ? folded_.causal : folded_.context;
    const bool whole = folded.weight.defined();
    Product(saved.attention[std::min(i, experts - 1)], whole ? folded.weight : w_.out_weight,
            whole ? folded.bias : w_.out_bias, {}, projected[i]);
  }
  return projected;
}

at::Tensor Layer::Mix(const Stream& stream, const at::Tensor& residual, const at::Tensor& a,
                      LayerSaved* saved) const {
  const Phase phase("mixrec::forward/experts and gate");
  at::Tensor sum = at::empty(residual.sizes(), residual.options());
  const Dropout dropout = BranchDropout(stream, saved->trimmed, 0);
  const at::Tensor causal = saved->projected[0];
  if (kind_ == Kind::kPlain) {
    at::add_out(sum, residual, causal);
    return sum;
  }
  const auto expert = [&](const Adapter& adapter, const Adapter::Folded& folded,
                          const at::Tensor& attended, Adapter::Saved* adapter_saved) {
    if (folded.weight.defined()) return Branch{attended, {}, {}, 1.0};
    return adapter.Forward(adapter.parallel() ? a : attended, attended, adapter_saved);
  };
  saved->causal_value = expert(causal_, folded_.causal, causal, &saved->causal);
  if (kind_ == Kind::kBase) {
    ResidualForward(saved->causal_value, residual, dropout, sum);
    saved->causal_value = Branch();
    return sum;
  }
  const at::Tensor context = saved->projected[saved->projected.size(0) - 1];
  saved->context_value = expert(context_, folded_.context, context, &saved->context);
  saved->beta = at::empty({sum.size(0), 2}, sum.options().dtype(at::kFloat));
  GateForward(&saved->causal_value, &saved->context_value, gate_weight_, gate_bias_, residual,
              dropout, sum, saved->beta);
  return sum;
}

at::Tensor Layer::FeedForward(const Stream& stream, LayerSaved* saved) const {
  const Phase phase("mixrec::forward/feed-forward");
  const at::Tensor& y = saved->y;
  const at::Tensor f =
      pre_norm_ ? Normalise(y, w_.ln2_weight, w_.ln2_bias, &saved->mean2, &saved->rstd2) : y;
  saved->activated = tensor::ReluProduct(f, w_.fc1_weight, w_.fc1_bias);
  if (kind_ == Kind::kPlain) {
    return Product(saved->activated, w_.fc2_weight, w_.fc2_bias, y);
  }
  if (folded_.recommendation.weight.defined()) {
    return Product(saved->activated, folded_.recommendation.weight, folded_.recommendation.bias, y);
  }
  saved->ffn = Product(saved->activated, w_.fc2_weight, w_.fc2_bias);
  const Branch branch = recommendation_.Forward(recommendation_.parallel() ? f : saved->ffn,
                                                saved->ffn, &saved->recommendation);
  at::Tensor sum = at::empty(y.sizes(), y.options());
  ResidualForward(branch, y, BranchDropout(stream, saved->trimmed, 1), sum);
  return sum;
}

at::Tensor Layer::Backward(const Stream& stream, Columns* columns, at::Tensor d_output,
                           bool special_only, const LayerSaved& saved) const {
  const Phase phase("mixrec::backward/norms");
  at::Tensor d_sum2 = d_output;
  if (!pre_norm_) {
    d_sum2 = at::zeros_like(d_output);
    LayerNormBackward(d_output, saved.sum2, w_.ln2_weight, saved.mean2, saved.rstd2, d_sum2);
  }
  at::Tensor d_f = FeedForwardBackward(stream, d_sum2, saved);
  at::Tensor d_sum1;  // also the gradient of the residual x
  if (pre_norm_) {
    d_sum1 = d_sum2;
    LayerNormBackward(d_f, saved.y, w_.ln2_weight, saved.mean2, saved.rstd2, d_sum1);
  } else {
    d_f.add_(d_sum2);
    d_sum1 = at::zeros_like(d_f);
    LayerNormBackward(d_f, saved.sum1, w_.ln1_weight, saved.mean1, saved.rstd1, d_sum1);
  }
  at::Tensor d_a =
      AttendBackward(stream, columns, MixBackward(stream, d_sum1, saved), special_only, saved);
  at::Tensor d_x = d_sum1;
  if (saved.trimmed) {
    d_x = at::zeros({stream.rows, d_sum1.size(1)}, d_sum1.options());
    d_x.index_copy_(0, stream.read_rows, d_sum1);
  }
  at::Tensor x = saved.x, mean = saved.mean1, rstd = saved.rstd1;
  if (special_only) {
    d_x = d_x.index_select(0, stream.special_rows);
    x = x.index_select(0, stream.special_rows);
    if (pre_norm_) {
      mean = mean.index_select(0, stream.special_rows);
      rstd = rstd.index_select(0, stream.special_rows);
    }
  }
  if (pre_norm_) {
    LayerNormBackward(d_a, x, w_.ln1_weight, mean, rstd, d_x);
  } else {
    d_x.add_(d_a);
  }
  return d_x;
}

at::Tensor Layer::FeedForwardBackward(const Stream& stream, const at::Tensor& d_sum2,
                                      const LayerSaved& saved) const {
  const Phase phase("mixrec::backward/feed-forward");
  at::Tensor d_ffn = d_sum2, d_f;
  if (kind_ != Kind::kPlain) {
    const Dropout dropout = BranchDropout(stream, saved.trimmed, 1);
    const bool same = recommendation_.scale() == 1.0 && dropout.probability <= 0.0;
    const at::Tensor d_raw = same ? d_sum2 : at::empty_like(d_sum2);
    ResidualBackward(d_sum2, recommendation_.scale(), dropout, d_raw,
                     recommendation_.up_bias_gradient());
    d_ffn = d_raw;
    if (recommendation_.parallel()) {
      at::Tensor mean, rstd;
      const at::Tensor f =
          pre_norm_ ? Normalise(saved.y, w_.ln2_weight, w_.ln2_bias, &mean, &rstd) : saved.y;
      d_f = at::empty_like(d_raw);
      recommendation_.Backward(d_raw, f, saved.recommendation,
                               recommendation_.adds_input() ? d_raw : at::Tensor(), d_f);
    } else {
      if (same) d_ffn = at::empty_like(d_raw);
      recommendation_.Backward(d_raw, saved.ffn, saved.recommendation, d_raw, d_ffn);
    }
  }
  const at::Tensor d_hidden = tensor::ReluInputGradient(d_ffn, w_.fc2_weight, saved.activated);
  return InputGradient(d_hidden, w_.fc1_weight, d_f);
}

Layer::MixGradient Layer::MixBackward(const Stream& stream, const at::Tensor& d_sum1,
                                      const LayerSaved& saved) const {
  const Phase phase("mixrec::backward/experts and gate");
  MixGradient result;
  const Dropout dropout = BranchDropout(stream, saved.trimmed, 0);
  if (kind_ == Kind::kPlain) {
    result.projected = d_sum1.unsqueeze(0);
    return result;
  }
  // Both experts' gradients side by side, where the adapters' backward leaves those of its inputs.
  const int64_t branches = kind_ == Kind::kBase ? 1 : 2;
  const at::Tensor d_branches =
      at::empty({branches, d_sum1.size(0), d_sum1.size(1)}, d_sum1.options());
  const at::Tensor d_causal = d_branches[0], d_context = d_branches[branches - 1];
  if (kind_ == Kind::kBase) {
    ResidualBackward(d_sum1, 1.0, dropout, d_causal, causal_.up_bias_gradient());
  } else {
    GateGradients gradients{
        d_causal,       d_context,   causal_.up_bias_gradient(), context_.up_bias_gradient(),
        d_gate_weight_, d_gate_bias_};
    GateBackward(d_sum1, saved.causal_value, saved.context_value, gate_weight_, saved.beta, dropout,
                 &gradients);
  }
  at::Tensor a;
  const auto expert = [&](const Adapter& adapter, const at::Tensor& d_raw,
                          const at::Tensor& attended, const Adapter::Saved& adapter_saved) {
    if (!adapter.parallel()) {
      adapter.Backward(d_raw, attended, adapter_saved, d_raw, d_raw);
      return;
    }
    if (!a.defined()) a = QueryRows(stream, saved.trimmed, AttentionInput(saved));
    const at::Tensor base = adapter.adds_input() ? d_raw : at::Tensor();
    if (!result.a.defined()) {
      result.a = at::empty_like(d_raw);
      adapter.Backward(d_raw, a, adapter_saved, base, result.a);
    } else {
      at::Tensor d_input = at::empty_like(d_raw);
      adapter.Backward(d_raw, a, adapter_saved, base, d_input);
      result.a.add_(d_input);
    }
  };
  const int64_t experts = saved.projected.size(0);
  expert(causal_, d_causal, saved.projected[0], saved.causal);
  if (kind_ == Kind::kDamoe) {
    expert(context_, d_context, saved.projected[experts - 1], saved.context);
  }
  result.projected = shared_attention_ ? (d_causal + d_context).unsqueeze(0) : d_branches;
  return result;
}

at::Tensor Layer::AttendBackward(const Stream& stream, Columns* columns, const MixGradient& d,
                                 bool special_only, const LayerSaved& saved) const {
  const Phase phase("mixrec::backward/projections");
  const int64_t experts = saved.projected.size(0), queries = saved.q.size(0);
  const int64_t width = saved.q.size(1);
  const at::Tensor d_attention =
      InputGradient(d.projected.reshape({experts * queries, width}), w_.out_weight)
          .view({experts, queries, width});
  at::Tensor d_qkv = at::empty({stream.rows, 3 * width}, saved.q.options());
  AttentionGradients gradients;
  gradients.q =
      saved.trimmed ? at::empty({queries, width}, saved.q.options()) : d_qkv.narrow(1, 0, width);
  gradients.k = d_qkv.narrow(1, width, width);
  gradients.v = d_qkv.narrow(1, 2 * width, width);
  const bool context = experts == 2;
  at::Tensor d_column_kv;
  if (context && saved.column_kv.defined()) {
    d_column_kv = at::empty_like(saved.column_kv);
    gradients.column_k = d_column_kv.narrow(1, 0, width);
    gradients.column_v = d_column_kv.narrow(1, width, width);
  }
  {
    const Phase attention("mixrec::backward/attention");
    AttentionBackward(InputsOf(saved, heads_, context), saved.trimmed ? stream.read : stream.all,
                      saved.attention, saved.log_sum_exp, d_attention, &gradients);
  }
  if (d_column_kv.defined()) {
    const at::Tensor d_normal =
        InputGradient(d_column_kv, w_.qkv_weight.narrow(0, width, 2 * width));
    if (pre_norm_) {
      LayerNormBackward(d_normal, columns->c, w_.ln1_weight, saved.column_mean, saved.column_rstd,
                        columns->d_c);
    } else {
      columns->d_c.add_(d_normal);
    }
  }
  if (!saved.trimmed && !special_only) {
    return InputGradient(d_qkv, w_.qkv_weight, d.a);
  }
  // Rare shapes: few rows are queries (last layer), or few rows are wanted (bottom layer).
  if (saved.trimmed) {
    d_qkv.narrow(1, 0, width).zero_();
    d_qkv.narrow(1, 0, width).index_copy_(0, stream.read_rows, gradients.q);
  }
  at::Tensor d_extra = d.a;
  if (d_extra.defined() && saved.trimmed) {
    d_extra = at::zeros({stream.rows, width}, d.a.options());
    d_extra.index_copy_(0, stream.read_rows, d.a);
  }
  if (special_only) {
    d_qkv = d_qkv.index_select(0, stream.special_rows);
    if (d_extra.defined()) d_extra = d_extra.index_select(0, stream.special_rows);
  }
  return InputGradient(d_qkv, w_.qkv_weight, d_extra);
}

}  // namespace mixrec::model
