// A layer's backward pass. Gradients of weights are made on the side; the main chain is the
// gradient of the layer's input.
#include "model/layer.h"
#include "tensor/phase.h"

namespace mixrec::model {

using tensor::InputGradient;
using tensor::Phase;

at::Tensor Layer::OwnQueries(const Streams& streams, int64_t model, bool trimmed,
                             const at::Tensor& x) const {
  const at::Tensor rows = streams.Part(model, /*trimmed=*/false, x);
  return trimmed ? rows.index_select(0, streams.of(model).read_rows) : rows;
}

at::Tensor Layer::Backward(const Streams& streams, Columns* columns, at::Tensor d_output,
                           bool special_only, const LayerSaved& saved) const {
  const Phase phase("mixrec::backward/norms");
  at::Tensor d_sum2 = d_output;
  if (!pre_norm_) {
    d_sum2 = at::zeros_like(d_output);
    LayerNormBackward(d_output, saved.sum2, w_.ln2_weight, saved.mean2, saved.rstd2, d_sum2);
  }
  at::Tensor d_f = FeedForwardBackward(streams, d_sum2, saved);
  Join();             // d_sum2 changes from here on
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
      AttendBackward(streams, columns, MixBackward(streams, d_sum1, saved), special_only, saved);
  at::Tensor d_x = d_sum1;
  if (saved.trimmed) {
    d_x = at::zeros({streams.rows(), d_sum1.size(1)}, d_sum1.options());
    d_x.index_copy_(0, streams.read_rows(), d_sum1);
  }
  at::Tensor x = saved.x, mean = saved.mean1, rstd = saved.rstd1;
  if (special_only) {
    d_x = d_x.index_select(0, streams.special_rows());
    x = x.index_select(0, streams.special_rows());
    if (pre_norm_) {
      mean = mean.index_select(0, streams.special_rows());
      rstd = rstd.index_select(0, streams.special_rows());
    }
  }
  if (pre_norm_) {
    LayerNormBackward(d_a, x, w_.ln1_weight, mean, rstd, d_x);
  } else {
    d_x.add_(d_a);
  }
  Join();
  return d_x;
}

at::Tensor Layer::FeedForwardBackward(const Streams& streams, const at::Tensor& d_sum2,
                                      const LayerSaved& saved) const {
  const Phase phase("mixrec::backward/feed-forward");
  at::Tensor d_ffn = d_sum2, d_f;
  if (kind_ != Kind::kPlain) {
    d_ffn = at::empty_like(d_sum2);
    if (AnyParallel(&Own::recommendation)) d_f = at::empty_like(d_sum2);
    streams.Each([&](int64_t model) {
      const auto part = [&](const at::Tensor& x) {
        return x.defined() ? streams.Part(model, saved.trimmed, x) : x;
      };
      RecommendationBackward(streams, model, part(d_sum2), saved, part(d_ffn), part(d_f));
    });
  }
  const at::Tensor d_hidden = tensor::ReluInputGradient(d_ffn, w_.fc2_weight, saved.activated);
  return InputGradient(d_hidden, w_.fc1_weight, d_f);
}

// Writes the gradients of the adapter's inputs: d_ffn, and d_f where that is defined.
void Layer::RecommendationBackward(const Streams& streams, int64_t model, const at::Tensor& d_sum2,
                                   const LayerSaved& saved, const at::Tensor& d_ffn,
                                   const at::Tensor& d_f) const {
  const Adapter& adapter = own(model).recommendation;
  const Adapter::Saved& kept = saved.own[static_cast<size_t>(model)].recommendation;
  const Dropout dropout = BranchDropout(streams, model, saved.trimmed, 1);
  const bool same = !adapter.parallel() && dropout.probability <= 0.0;
  at::Tensor d_raw = d_ffn;  // a serial adapter's input has a gradient of its own
  if (!adapter.parallel()) d_raw = same ? d_sum2 : at::empty_like(d_sum2);
  tensor::SideStream* side = own(model).side;
  const auto residual = [&] {
    ResidualBackward(d_sum2, adapter.scale(), dropout, d_raw, adapter.up_bias_gradient());
  };
  if (same) {
    side->Run({d_sum2}, residual);  // a sum over its rows, no more
  } else {
    residual();
  }
  if (!adapter.parallel()) {
    adapter.Backward(d_raw, streams.Part(model, saved.trimmed, saved.ffn), kept, d_raw, d_ffn,
                     side);
    if (d_f.defined()) at::Tensor(d_f).zero_();
    return;
  }
  const at::Tensor y = streams.Part(model, saved.trimmed, saved.y);
  at::Tensor mean, rstd;
  const at::Tensor f = pre_norm_ ? Normalise(y, w_.ln2_weight, w_.ln2_bias, &mean, &rstd) : y;
  adapter.Backward(d_raw, f, kept, adapter.adds_input() ? d_raw : at::Tensor(), d_f, side);
}

Layer::MixGradient Layer::MixBackward(const Streams& streams, const at::Tensor& d_sum1,
                                      const LayerSaved& saved) const {
  const Phase phase("mixrec::backward/experts and gate");
  if (kind_ == Kind::kPlain) return {d_sum1, {}};
  // A model's experts' gradients side by side, where its adapters' backward leaves those of its
  // inputs.
  const int64_t queries = d_sum1.size(0), width = d_sum1.size(1);
  const int64_t branches = kind_ == Kind::kBase ? 1 : 2;
  MixGradient d{at::empty({branches * queries, width}, d_sum1.options()), {}};
  if (AnyParallel(&Own::causal) || AnyParallel(&Own::context)) d.a = at::empty_like(d_sum1);
  streams.Each([&](int64_t model) {
    MixOwnBackward(streams, model, streams.Part(model, saved.trimmed, d_sum1), saved, d);
  });
  if (!shared_attention_) return d;
  const at::Tensor sum = at::empty_like(d_sum1);
  streams.Each([&](int64_t model) {
    const at::Tensor both = streams.Experts(model, saved.trimmed, d.projected);
    at::Tensor part = streams.Part(model, saved.trimmed, sum);
    at::add_out(part, both[0], both[1]);
  });
  d.projected = sum;
  return d;
}

void Layer::MixOwnBackward(const Streams& streams, int64_t model, const at::Tensor& d_sum1,
                           const LayerSaved& saved, const MixGradient& d) const {
  const Own& own = own_[static_cast<size_t>(model)];
  const LayerSaved::Own& kept = saved.own[static_cast<size_t>(model)];
  const Dropout dropout = BranchDropout(streams, model, saved.trimmed, 0);
  const at::Tensor d_projected = streams.Experts(model, saved.trimmed, d.projected);
  const at::Tensor d_a = d.a.defined() ? streams.Part(model, saved.trimmed, d.a) : at::Tensor();
  const auto branch = [&](const Adapter& adapter, int64_t i) {
    return adapter.parallel() ? d_projected[i] : at::empty_like(d_sum1);
  };
  const at::Tensor d_causal = branch(own.causal, 0);
  at::Tensor d_context;
  if (kind_ == Kind::kBase) {
    ResidualBackward(d_sum1, 1.0, dropout, d_causal, own.causal.up_bias_gradient());
  } else {
    d_context = branch(own.context, 1);
    GateGradients gradients{d_causal,
                            d_context,
                            own.causal.up_bias_gradient(),
                            own.context.up_bias_gradient(),
                            own.d_gate_weight,
                            own.d_gate_bias,
                            own.side};
    GateBackward(d_sum1, kept.causal_value, kept.context_value, own.gate_weight, kept.beta, dropout,
                 &gradients);
  }
  at::Tensor a;  // LN1(x) again
  if (own.causal.parallel() || (kind_ == Kind::kDamoe && own.context.parallel())) {
    const at::Tensor x = OwnQueries(streams, model, saved.trimmed, saved.x);
    at::Tensor mean, rstd;
    a = pre_norm_ ? Normalise(x, w_.ln1_weight, w_.ln1_bias, &mean, &rstd) : x;
  }
  const at::Tensor projected = streams.Experts(model, saved.trimmed, saved.projected);
  bool has_a = false;
  ExpertBackward(own, own.causal, d_causal, own.causal.parallel() ? a : projected[0], kept.causal,
                 d_projected[0], d_a, &has_a);
  if (kind_ == Kind::kDamoe) {
    ExpertBackward(own, own.context, d_context,
                   own.context.parallel() ? a : projected[projected.size(0) - 1], kept.context,
                   d_projected[1], d_a, &has_a);
  }
  if (d_a.defined() && !has_a) at::Tensor(d_a).zero_();
}

void Layer::ExpertBackward(const Own& own, const Adapter& adapter, const at::Tensor& d_raw,
                           const at::Tensor& input, const Adapter::Saved& adapter_saved,
                           const at::Tensor& projected, const at::Tensor& d_a, bool* has_a) const {
  if (!adapter.parallel()) {
    return adapter.Backward(d_raw, input, adapter_saved, d_raw, projected, own.side);
  }
  const at::Tensor base = adapter.adds_input() ? d_raw : at::Tensor();
  const at::Tensor d_input = *has_a ? at::empty_like(d_raw) : d_a;
  adapter.Backward(d_raw, input, adapter_saved, base, d_input, own.side);
  if (*has_a) at::Tensor(d_a).add_(d_input);
  *has_a = true;
}

void Layer::ColumnsBackward(const at::Tensor& d_column_kv, const LayerSaved& saved,
                            Columns* columns) const {
  const int64_t width = columns->c.size(1);
  const at::Tensor d_normal = InputGradient(d_column_kv, w_.qkv_weight.narrow(0, width, 2 * width));
  if (pre_norm_) {
    LayerNormBackward(d_normal, columns->c, w_.ln1_weight, saved.column_mean, saved.column_rstd,
                      columns->d_c);
  } else {
    columns->d_c.add_(d_normal);
  }
}

at::Tensor Layer::AttendBackward(const Streams& streams, Columns* columns, const MixGradient& d,
                                 bool special_only, const LayerSaved& saved) const {
  const Phase phase("mixrec::backward/projections");
  const int64_t queries = saved.q.size(0), width = saved.q.size(1);
  const at::Tensor d_attention = InputGradient(d.projected, w_.out_weight);
  at::Tensor d_qkv = at::empty({streams.rows(), 3 * width}, saved.q.options());
  const at::Tensor d_q =
      saved.trimmed ? at::empty({queries, width}, saved.q.options()) : d_qkv.narrow(1, 0, width);
  const bool context = saved.attention.size(0) == 2 * queries;
  at::Tensor d_column_kv;
  if (context && saved.column_kv.defined()) d_column_kv = at::empty_like(saved.column_kv);
  {
    const Phase attention("mixrec::backward/attention");
    streams.Each([&](int64_t model) {
      const at::Tensor d_own = streams.Part(model, /*trimmed=*/false, d_qkv);
      AttentionGradients gradients;
      gradients.q = streams.Part(model, saved.trimmed, d_q);
      gradients.k = d_own.narrow(1, width, width);
      gradients.v = d_own.narrow(1, 2 * width, width);
      if (d_column_kv.defined()) {
        const at::Tensor d_columns = streams.ColumnPart(model, d_column_kv);
        gradients.column_k = d_columns.narrow(1, 0, width);
        gradients.column_v = d_columns.narrow(1, width, width);
      }
      AttentionBackward(InputsOf(streams, model, saved, context),
                        streams.LayoutOf(model, saved.trimmed),
                        streams.Experts(model, saved.trimmed, saved.attention),
                        saved.own[static_cast<size_t>(model)].log_sum_exp,
                        streams.Experts(model, saved.trimmed, d_attention), &gradients);
    });
  }
  if (d_column_kv.defined()) {
    own_[0].side->Run({d_column_kv}, [&] { ColumnsBackward(d_column_kv, saved, columns); });
  }
  if (!saved.trimmed && !special_only) {
    return InputGradient(d_qkv, w_.qkv_weight, d.a);
  }
  // Rare shapes: few rows are queries (last layer), or few rows are wanted (bottom layer).
  if (saved.trimmed) {
    d_qkv.narrow(1, 0, width).zero_();
    d_qkv.narrow(1, 0, width).index_copy_(0, streams.read_rows(), d_q);
  }
  at::Tensor d_extra = d.a;
  if (d_extra.defined() && saved.trimmed) {
    d_extra = at::zeros({streams.rows(), width}, d.a.options());
    d_extra.index_copy_(0, streams.read_rows(), d.a);
  }
  if (special_only) {
    d_qkv = d_qkv.index_select(0, streams.special_rows());
    if (d_extra.defined()) d_extra = d_extra.index_select(0, streams.special_rows());
  }
  return InputGradient(d_qkv, w_.qkv_weight, d_extra);
}

}  // namespace mixrec::model
