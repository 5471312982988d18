// Private to model/: one transformer layer, forward and hand-written backward. A layer is a DAMoE
// layer (paper Sec. 2.3.3, Fig. 4), a MixRec_base layer (Fig. 1) or a plain frozen OPT layer. It
// may be the layer of several models that are computed side by side (streams.h): what is frozen
// takes the rows of all at once, what is trained those of its own model.
#pragma once

#include <ATen/ATen.h>

#include <optional>
#include <vector>

#include "model/adapter.h"
#include "model/backbone.h"
#include "model/kernels.h"
#include "model/options.h"
#include "model/parameters.h"
#include "model/streams.h"
#include "tensor/products.h"
#include "tensor/side_stream.h"

namespace mixrec::model {

// The collaborative columns c of the step: the same at every layer (model.md D23), so their
// normalisation is computed once. C columns, model by model.
struct Columns {
  at::Tensor c;    // [C, D] compute dtype; undefined: none
  at::Tensor d_c;  // [C, D] gradient, added to by every layer's backward
};

// What Backward needs of Forward. R = T rows but in the last layer, which computes only rows read.
struct LayerSaved {
  bool trimmed = false;
  at::Tensor x;             // [T, D] input
  at::Tensor normal1;       // LN1(x), from the layer before until it is used
  at::Tensor mean1, rstd1;  // [T] (pre-LN) or [R] (post-LN)
  at::Tensor q, k, v;       // [R, D], [T, D], [T, D]
  at::Tensor column_kv;     // [C, 2D]
  at::Tensor column_mean, column_rstd;
  at::Tensor attention;     // [experts * R, D], every model's [experts, its rows, D] in turn
  at::Tensor projected;     // out_proj of it
  at::Tensor sum1, y;       // post-LN: input of LN1; [R, D] state after attention
  at::Tensor mean2, rstd2;  // [R]
  at::Tensor activated;     // [R, F]
  at::Tensor ffn;           // [R, D] output of fc2
  at::Tensor sum2;          // post-LN: input of LN2

  struct Own {               // a model's; R are its rows
    at::Tensor log_sum_exp;  // [experts, R, H]
    Adapter::Saved causal, context, recommendation;
    Branch causal_value, context_value;  // finished experts q, p
    at::Tensor beta;                     // [R, 2]
  };
  std::vector<Own> own;
};

// One of the models whose layers are computed together. They have mode and replace_every in common.
struct LayerModel {
  const ModelOptions* options;
  const DenseParameters* parameters;
  tensor::SideStream* side;  // takes work beside the model's main chain
};

class Layer {
 public:
  // `damoe` counts DAMoE (or base) layers from the bottom; negative: a plain layer. Keeps the
  // models' sides; after Forward and Backward they are joined.
  Layer(const OptConfig& config, const OptLayer& weights, const std::vector<LayerModel>& models,
        int damoe, int layer);

  bool plain() const { return kind_ == Kind::kPlain; }
  bool mixes() const { return kind_ == Kind::kDamoe; }

  // From now on Forward folds linear serial adapters into the frozen weights as they are now (and
  // keeps nothing for Backward), until Unfold. Of a single model.
  void Fold();
  void Unfold() { own_.at(0).folded = {}; }

  // Output [R, D]; with `trimmed` only the rows read. What the layer after this one begins with is
  // made along with the output where that is cheap, and left in `next.saved`.
  struct Next {
    const Layer* layer = nullptr;  // none
    LayerSaved* saved = nullptr;
  };
  at::Tensor Forward(const Streams& streams, const Columns& columns, const at::Tensor& x,
                     bool trimmed, LayerSaved* saved, Next next) const;
  // d_output [R, D] is consumed (overwritten). Returns d x [T, D]; with `special_only` just its
  // rows streams.special_rows() [S, D], all that the bottom layer needs.
  at::Tensor Backward(const Streams& streams, Columns* columns, at::Tensor d_output,
                      bool special_only, const LayerSaved& saved) const;

 private:
  enum class Kind { kPlain, kBase, kDamoe };

  // What a model trains of the layer.
  struct Own {
    Adapter causal, context, recommendation;
    at::Tensor gate_weight, gate_bias, d_gate_weight, d_gate_bias;  // fp32
    double dropout = 0;
    tensor::SideStream* side = nullptr;
    struct {
      Adapter::Folded causal, context, recommendation;  // undefined weights: not folded
    } folded;
  };
  Own OwnOf(const LayerModel& model, int damoe) const;
  const Own& own(int64_t model) const { return own_[static_cast<size_t>(model)]; }
  bool AnyParallel(Adapter Own::*adapter) const;

  void Project(const at::Tensor& a, const at::Tensor& query_a, LayerSaved* saved) const;
  AttentionInputs InputsOf(const Streams& streams, int64_t model, const LayerSaved& saved,
                           bool context) const;
  // Keys and values of the columns, on the side.
  void StartColumns(const Columns& columns, LayerSaved* saved) const;
  void Attend(const Streams& streams, LayerSaved* saved) const;
  // The output projections of saved->attention.
  at::Tensor ProjectAttention(const Streams& streams, const LayerSaved& saved) const;
  // `norm`: of the sum.
  at::Tensor Mix(const Streams& streams, const at::Tensor& residual, const at::Tensor& a,
                 LayerSaved* saved, FollowingNorm* norm) const;
  void MixOwn(const Streams& streams, int64_t model, const at::Tensor& residual,
              const at::Tensor& a, const at::Tensor& sum, const FollowingNorm& norm,
              LayerSaved* saved) const;
  at::Tensor FeedForward(const Streams& streams, const at::Tensor& f, LayerSaved* saved,
                         Next next) const;
  at::Tensor FeedForwardBackward(const Streams& streams, const at::Tensor& d_sum2,
                                 const LayerSaved& saved) const;
  void RecommendationBackward(const Streams& streams, int64_t model, const at::Tensor& d_sum2,
                              const LayerSaved& saved, const at::Tensor& d_ffn,
                              const at::Tensor& d_f) const;
  struct MixGradient {
    at::Tensor projected;  // as LayerSaved::projected
    at::Tensor a;          // [R, D], undefined when no expert is parallel
  };
  MixGradient MixBackward(const Streams& streams, const at::Tensor& d_sum1,
                          const LayerSaved& saved) const;
  // Of a model, into its parts of both gradients.
  void MixOwnBackward(const Streams& streams, int64_t model, const at::Tensor& d_sum1,
                      const LayerSaved& saved, const MixGradient& d) const;
  // Adds one expert's part: d_raw [R, D] is the gradient of its branch, `projected` where that of
  // its attention's projection goes (d_raw itself for a parallel expert); d_a is added to where
  // `has_a` says that there is something.
  void ExpertBackward(const Own& own, const Adapter& adapter, const at::Tensor& d_raw,
                      const at::Tensor& input, const Adapter::Saved& adapter_saved,
                      const at::Tensor& projected, const at::Tensor& d_a, bool* has_a) const;
  // Adds to columns->d_c.
  void ColumnsBackward(const at::Tensor& d_column_kv, const LayerSaved& saved,
                       Columns* columns) const;
  at::Tensor AttendBackward(const Streams& streams, Columns* columns, const MixGradient& d,
                            bool special_only, const LayerSaved& saved) const;

  // The rows of a model that its queries stand on, of x [T, .] of all.
  at::Tensor OwnQueries(const Streams& streams, int64_t model, bool trimmed,
                        const at::Tensor& x) const;
  Dropout BranchDropout(const Streams& streams, int64_t model, bool trimmed, int branch) const;
  void Join() const;
  // A norm of [R, D] sums like `sum`, with room for its results.
  static FollowingNorm NormAfter(const at::Tensor& sum, const at::Tensor& weight,
                                 const at::Tensor& bias);
  // A model's part of it.
  static FollowingNorm PartOf(const Streams& streams, int64_t model, bool trimmed,
                              const FollowingNorm& norm);
  at::Tensor Normalise(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                       at::Tensor* mean, at::Tensor* rstd) const;

  Kind kind_;
  int64_t heads_;
  bool pre_norm_, shared_attention_;  // moe: both experts read one causal attention
  int layer_;
  OptLayer w_;
  std::vector<Own> own_;
};

}  // namespace mixrec::model
