// A layer's forward pass. The second expert and the columns are computed on the side.
#include <algorithm>
#include <utility>

#include "model/layer.h"
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

at::Tensor Layer::Forward(const Streams& streams, const Columns& columns, const at::Tensor& x,
                          bool trimmed, LayerSaved* saved, Next next) const {
  const Phase phase("mixrec::forward/projections");
  saved->trimmed = trimmed;
  saved->x = x;
  saved->own.resize(own_.size());
  StartColumns(columns, saved);
  at::Tensor a = std::exchange(saved->normal1, at::Tensor());
  if (!pre_norm_) {
    a = x;
  } else if (!a.defined()) {
    a = Normalise(x, w_.ln1_weight, w_.ln1_bias, &saved->mean1, &saved->rstd1);
  }
  const at::Tensor query_a = QueryRows(streams, trimmed, a);
  Project(a, query_a, saved);
  Attend(streams, saved);
  FollowingNorm norm;
  const at::Tensor sum1 = Mix(streams, QueryRows(streams, trimmed, x), query_a, saved, &norm);
  if (pre_norm_) {
    saved->y = sum1;
    saved->mean2 = norm.mean;
    saved->rstd2 = norm.rstd;
  } else {
    saved->sum1 = sum1;
    saved->y = norm.y;
    saved->mean1 = norm.mean;
    saved->rstd1 = norm.rstd;
  }
  const at::Tensor sum2 = FeedForward(streams, norm.y, saved, next);
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

void Layer::StartColumns(const Columns& columns, LayerSaved* saved) const {
  if (kind_ != Kind::kDamoe || shared_attention_ || !columns.c.defined()) return;
  const int64_t width = columns.c.size(1);
  own_[0].side->Run({columns.c}, [&] {
    const at::Tensor normal = pre_norm_ ? Normalise(columns.c, w_.ln1_weight, w_.ln1_bias,
                                                    &saved->column_mean, &saved->column_rstd)
                                        : columns.c;
    saved->column_kv = Product(normal, w_.qkv_weight.narrow(0, width, 2 * width),
                               w_.qkv_bias.narrow(0, width, 2 * width));
  });
}

void Layer::Attend(const Streams& streams, LayerSaved* saved) const {
  const int64_t width = saved->q.size(1), queries = saved->q.size(0);
  const bool context = kind_ == Kind::kDamoe && !shared_attention_;
  const int64_t experts = context ? 2 : 1;
  saved->attention = at::empty({experts * queries, width}, saved->q.options());
  {
    const Phase phase("mixrec::forward/attention");
    own_[0].side->Join();
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
                      LayerSaved* saved, FollowingNorm* norm) const {
  const Phase phase("mixrec::forward/experts and gate");
  at::Tensor sum = at::empty(residual.sizes(), residual.options());
  *norm = pre_norm_ ? NormAfter(sum, w_.ln2_weight, w_.ln2_bias)
                    : NormAfter(sum, w_.ln1_weight, w_.ln1_bias);
  if (kind_ == Kind::kPlain) {
    ResidualForward({saved->projected, {}, {}, 1.0}, residual, {}, sum, *norm);
    return sum;
  }
  streams.Each([&](int64_t model) {
    const auto part = [&](const at::Tensor& x) { return streams.Part(model, saved->trimmed, x); };
    MixOwn(streams, model, part(residual), part(a), part(sum),
           PartOf(streams, model, saved->trimmed, *norm), saved);
  });
  return sum;
}

void Layer::MixOwn(const Streams& streams, int64_t model, const at::Tensor& residual,
                   const at::Tensor& a, const at::Tensor& sum, const FollowingNorm& norm,
                   LayerSaved* saved) const {
  const Own& own = own_[static_cast<size_t>(model)];
  LayerSaved::Own& kept = saved->own[static_cast<size_t>(model)];
  const Dropout dropout = BranchDropout(streams, model, saved->trimmed, 0);
  const at::Tensor projected = streams.Experts(model, saved->trimmed, saved->projected);
  const auto expert = [&](const Adapter& adapter, const Adapter::Folded& folded,
                          const at::Tensor& attended, Adapter::Saved* adapter_saved) {
    if (folded.weight.defined()) return Branch{attended, {}, {}, 1.0};
    return adapter.Forward(adapter.parallel() ? a : attended, attended, adapter_saved);
  };
  if (kind_ == Kind::kDamoe) {
    const at::Tensor context = projected[projected.size(0) - 1];
    own.side->Run({context, a}, [&] {
      kept.context_value = expert(own.context, own.folded.context, context, &kept.context);
    });
  }
  kept.causal_value = expert(own.causal, own.folded.causal, projected[0], &kept.causal);
  if (kind_ == Kind::kBase) {
    ResidualForward(kept.causal_value, residual, dropout, sum, norm);
    kept.causal_value = Branch();
    return;
  }
  own.side->Join();
  kept.beta = at::empty({sum.size(0), 2}, sum.options().dtype(at::kFloat));
  GateForward(&kept.causal_value, &kept.context_value, own.gate_weight, own.gate_bias, residual,
              dropout, sum, kept.beta, norm);
}

at::Tensor Layer::FeedForward(const Streams& streams, const at::Tensor& f, LayerSaved* saved,
                              Next next) const {
  const Phase phase("mixrec::forward/feed-forward");
  const at::Tensor& y = saved->y;
  saved->activated = tensor::ReluProduct(f, w_.fc1_weight, w_.fc1_bias);
  if (kind_ == Kind::kPlain) {
    return Product(saved->activated, w_.fc2_weight, w_.fc2_bias, y);
  }
  const Adapter::Folded& folded = own_[0].folded.recommendation;
  if (folded.weight.defined()) return Product(saved->activated, folded.weight, folded.bias, y);
  saved->ffn = Product(saved->activated, w_.fc2_weight, w_.fc2_bias);
  at::Tensor sum = at::empty(y.sizes(), y.options());
  FollowingNorm norm;
  if (next.layer != nullptr && next.layer->pre_norm_) {
    norm = NormAfter(sum, next.layer->w_.ln1_weight, next.layer->w_.ln1_bias);
    next.saved->normal1 = norm.y;
    next.saved->mean1 = norm.mean;
    next.saved->rstd1 = norm.rstd;
  }
  streams.Each([&](int64_t model) {
    const auto part = [&](const at::Tensor& x) { return streams.Part(model, saved->trimmed, x); };
    const Adapter& adapter = own(model).recommendation;
    const at::Tensor ffn = part(saved->ffn);
    const Branch branch = adapter.Forward(adapter.parallel() ? part(f) : ffn, ffn,
                                          &saved->own[static_cast<size_t>(model)].recommendation);
    ResidualForward(branch, part(y), BranchDropout(streams, model, saved->trimmed, 1), part(sum),
                    PartOf(streams, model, saved->trimmed, norm));
  });
  return sum;
}

}  // namespace mixrec::model
