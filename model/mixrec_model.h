// The model of the paper around a frozen backbone: forward and hand-written backward over a packed
// stream. It knows neither the item projection's softmax (tensor/) nor where CF rows live (they
// come in and their gradients go out), so both can move to parameter servers.
//
// Shapes: T stream rows, D hidden, W word width (= D but for OPT-350M), E CF row width,
// P [SEQ] rows read, A alignment documents, Cu / Ci unique users / items of the step.
#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <memory>
#include <vector>

#include "data/packed_batch.h"
#include "model/architecture.h"
#include "model/backbone.h"
#include "model/options.h"
#include "model/parameters.h"
#include "model/stream.h"

namespace mixrec::model {

// Rows of the CF tables for batch.user_ids and batch.item_ids, or their gradients. fp32, on the
// model's device. Undefined tensors when the mode has no CF model.
struct CfRows {
  at::Tensor user;  // [Cu, E]
  at::Tensor item;  // [Ci, E]
};

inline CfRows ZerosLike(const CfRows& rows) {
  if (!rows.user.defined()) return {};
  return {at::zeros_like(rows.user), at::zeros_like(rows.item)};
}

// States after the final layer norm (before project_out), paper h^SEQ and h^ALIGN.
struct States {
  at::Tensor sequence;   // [P, W'] where W' = state width, compute dtype
  at::Tensor alignment;  // [A, W']
};

// The four losses, unweighted, and the weighted total (paper Sec. 2.4).
struct Losses {
  double sequence = 0, alignment = 0, contrastive = 0, cf = 0, total = 0;
};

// Every dense trainable tensor of a model, in checkpoint order; `items` rows in the projection.
std::vector<ParameterSpec> TrainableSpecs(const OptConfig& config, const ModelOptions& options,
                                          int64_t items);

class MixrecModel {
 public:
  // Keeps references: backbone and parameters outlive the model. Options are validated.
  MixrecModel(const Backbone& backbone, const ModelOptions& options, DenseParameters* parameters);
  // Several models side by side, which have mode and replace_every in common: one stream of rows
  // goes through the frozen weights, the trainable pieces see the rows of their own model.
  struct Member {
    ModelOptions options;
    DenseParameters* parameters;
  };
  MixrecModel(const Backbone& backbone, const std::vector<Member>& members);
  ~MixrecModel();

  // [SEQ] and [ALIGN] start at the backbone's own vector for them, or, for want of one, at the
  // embedding of </s>, which ended every text the backbone saw.
  void InitialiseSpecialTokens();

  int64_t state_width() const;  // D, the width of h and of the item projection's rows

  // Forward. With `training`, keeps what Backward needs (until the next Forward).
  States Forward(const data::PackedBatch& batch, const CfRows& rows, bool training,
                 DropoutKey dropout = {});

  // Adds d total / d parameter into the dense gradients and returns the gradient of the CF rows
  // that came in (zeros where not reached). Needs the Forward(training = true) before it.
  // `d_states`: gradients of the states, compute dtype.
  // `complete` hears, from the top layer down, which stretch of the flat gradient will not change
  // any more: those of the layers; the rest is complete when Backward returns.
  using Complete = std::function<void(int64_t first, int64_t last)>;
  CfRows Backward(const States& d_states, const Complete& complete = nullptr);
  // Tells `complete` what Backward would, for a rank that has nothing to compute in a step.
  void SkipBackward(const Complete& complete) const;

  // The same from lists that are on the device already: states of the reads [R, W'], and their
  // gradients. Neither waits for the device nor copies from the host, so both can be captured.
  at::Tensor Forward(const Stream& stream, const CfRows& rows, bool training);
  CfRows Backward(const at::Tensor& d_states, const Complete& complete = nullptr);

  // The same of all members, each with a stream and rows of its own. States [R, W'] are those of
  // the first, then of the second, ...; each member's are what it would compute alone, to rounding.
  at::Tensor Forward(const std::vector<Stream>& streams, const std::vector<CfRows>& rows,
                     bool training);
  std::vector<CfRows> BackwardOfAll(const at::Tensor& d_states);

  // Until Unfold, Forward in inference folds linear serial adapters into the frozen weights, with
  // the parameters' values at this moment. Costs memory for those weights.
  void Fold();
  void Unfold();

  // As Forward in inference, but returning every layer's input and the last output ([T, D], before
  // the final norm) and the gate values ([T, 2]) for tests and inspection.
  struct Trace {
    std::vector<at::Tensor> hidden;
    std::vector<at::Tensor> beta;
  };
  Trace TraceForward(const data::PackedBatch& batch, const CfRows& rows);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
  int64_t state_width_;
};

// InfoNCE over cosine similarities (paper Sec. 2.2.4): returns the loss and adds weight * its
// gradient to d_states. Shapes as in PackedBatch.
double ContrastiveLoss(const data::PackedBatch& batch, const States& states, double temperature,
                       double weight, States* d_states);
// The same on the device; states [R, W']. The loss is a scalar there.
at::Tensor ContrastiveLoss(const Stream& stream, const at::Tensor& states, double temperature,
                           double weight, at::Tensor d_states);

// The dense tensors of a CF model: the layers of NCF, none for MF.
std::vector<ParameterSpec> CfSpecs(const ModelOptions& options);

// The collaborative filtering model over CF rows: NeuMF or MF, BPR loss (paper Sec. 2.3.2).
class CfModel {
 public:
  CfModel(const ModelOptions& options, DenseParameters* parameters);
  // BPR loss over the batch's pairs; adds weight * gradients to the dense gradients and to d_rows.
  double BprLoss(const data::PackedBatch& batch, const CfRows& rows, double weight, CfRows* d_rows);
  // The same on the device; the loss is a scalar there.
  at::Tensor BprLoss(const Stream& stream, const CfRows& rows, double weight, CfRows* d_rows);

 private:
  ModelOptions options_;
  DenseParameters* parameters_;
};

}  // namespace mixrec::model
