// Private to model/: one transformer layer, forward and hand-written backward. A layer is a DAMoE
// layer (paper Sec. 2.3.3, Fig. 4), a MixRec_base layer (Fig. 1) or a plain frozen OPT layer.
#pragma once

#include <ATen/ATen.h>

#include <optional>

#include "model/adapter.h"
#include "model/backbone.h"
#include "model/kernels.h"
#include "model/options.h"
#include "model/parameters.h"
#include "model/stream.h"
#include "tensor/products.h"

namespace mixrec::model {

// The collaborative columns c of the step: the same at every layer (model.md D23), so their
// normalisation is computed once. C columns.
struct Columns {
  at::Tensor c;    // [C, D] compute dtype; undefined: none
  at::Tensor d_c;  // [C, D] gradient, added to by every layer's backward
};

// What Backward needs of Forward. R = T rows but in the last layer, which computes only rows read.
struct LayerSaved {
  bool trimmed = false;
  at::Tensor x;             // [T, D] input
  at::Tensor mean1, rstd1;  // [T] (pre-LN) or [R] (post-LN)
  at::Tensor q, k, v;       // [R, D], [T, D], [T, D]
  at::Tensor column_kv;     // [C, 2D]
  at::Tensor column_mean, column_rstd;
  at::Tensor attention, log_sum_exp;  // [experts, R, D], [experts, R, H]
  at::Tensor projected;               // [experts, R, D] out_proj of it
  Adapter::Saved causal, context, recommendation;
  Branch causal_value, context_value;  // finished experts q, p
  at::Tensor beta;                     // [R, 2]
  at::Tensor sum1, y;                  // post-LN: input of LN1; [R, D] state after attention
  at::Tensor mean2, rstd2;             // [R]
  at::Tensor activated;                // [R, F]
  at::Tensor ffn;                      // [R, D] output of fc2
  at::Tensor sum2;                     // post-LN: input of LN2
};

class Layer {
 public:
  // `damoe` counts DAMoE (or base) layers from the bottom; negative: a plain layer.
  Layer(const OptConfig& config, const OptLayer& weights, const ModelOptions& options, int damoe,
        int layer, const DenseParameters& parameters);

  bool plain() const { return kind_ == Kind::kPlain; }
  bool mixes() const { return kind_ == Kind::kDamoe; }

  // From now on Forward folds linear serial adapters into the frozen weights as they are now (and
  // keeps nothing for Backward), until Unfold.
  void Fold();
  void Unfold() { folded_ = {}; }

  // Output [R, D]; with `trimmed` only the rows read.
  at::Tensor Forward(const Stream& stream, const Columns& columns, const at::Tensor& x,
                     bool trimmed, LayerSaved* saved) const;
  // d_output [R, D] is consumed (overwritten). Returns d x [T, D]; with `special_only` just its
  // rows stream.special_rows [S, D], all that the bottom layer needs.
  at::Tensor Backward(const Stream& stream, Columns* columns, at::Tensor d_output,
                      bool special_only, const LayerSaved& saved) const;

 private:
  enum class Kind { kPlain, kBase, kDamoe };

  at::Tensor AttentionInput(const LayerSaved& saved) const;
  // [experts, R, D]: the output projections of saved->attention.
  at::Tensor ProjectAttention(const LayerSaved& saved) const;
  void Attend(const Stream& stream, const Columns& columns, LayerSaved* saved) const;
  at::Tensor Mix(const Stream& stream, const at::Tensor& residual, const at::Tensor& a,
                 LayerSaved* saved) const;
  at::Tensor FeedForward(const Stream& stream, LayerSaved* saved) const;
  at::Tensor FeedForwardBackward(const Stream& stream, const at::Tensor& d_sum2,
                                 const LayerSaved& saved) const;
  struct MixGradient {
    at::Tensor projected;  // [experts, R, D]
    at::Tensor a;          // [R, D], undefined when no expert is parallel
  };
  MixGradient MixBackward(const Stream& stream, const at::Tensor& d_sum1,
                          const LayerSaved& saved) const;
  at::Tensor AttendBackward(const Stream& stream, Columns* columns, const MixGradient& d,
                            bool special_only, const LayerSaved& saved) const;

  Dropout BranchDropout(const Stream& stream, bool trimmed, int branch) const;
  at::Tensor Normalise(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                       at::Tensor* mean, at::Tensor* rstd) const;

  Kind kind_;
  int64_t heads_;
  bool pre_norm_, shared_attention_;  // moe: both experts read one causal attention
  double dropout_;
  int layer_;
  OptLayer w_;
  Adapter causal_, context_, recommendation_;
  struct {
    Adapter::Folded causal, context, recommendation;  // undefined weights: not folded
  } folded_;
  at::Tensor gate_weight_, gate_bias_, d_gate_weight_, d_gate_bias_;  // fp32
};

}  // namespace mixrec::model
