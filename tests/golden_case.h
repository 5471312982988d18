// A golden case of the whole model (golden/mixrec/<case>): its configuration, batch and tensors,
// and one training step computed by the product's code.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "model/mixrec_model.h"
#include "model/safetensors.h"

namespace mixrec {

// $MIXREC_SHARED/golden, by default beside the checkout; empty when it is not there.
std::string GoldenFolder();

struct GoldenCase {
  std::string folder;
  model::ModelOptions options;
  model::Backbone backbone;
  data::PackedBatch batch;
  int64_t users = 0, items = 0;
  std::map<std::string, at::Tensor> trainable, expected;
  std::map<std::string, double> losses, losses_after;
};

absl::StatusOr<GoldenCase> LoadGoldenCase(const std::string& folder, at::Device device,
                                          at::ScalarType dtype);

// Which losses to differentiate: their weights.
struct LossWeights {
  double sequence = 1, alignment = 0, contrastive = 0, cf = 0;
};

struct StepResult {
  model::Losses losses;
  model::States states;
  at::Tensor sequence_logits, alignment_logits;
  std::map<std::string, at::Tensor> gradients;  // by golden name, tables whole
};

// The model of a case with its parameters and tables.
class GoldenModel {
 public:
  GoldenModel(const GoldenCase& golden, at::Device device, at::ScalarType dtype);
  StepResult Step(const LossWeights& weights);
  model::MixrecModel::Trace Trace();
  // One AdamW step (lr 1e-2, decay .01) on the gradients of the last Step.
  void AdamWStep();
  std::map<std::string, at::Tensor> Values() const;  // by golden name

 private:
  model::CfRows Rows() const;
  std::map<std::string, at::Tensor> Tables(const at::Tensor& user, const at::Tensor& item) const;

  const GoldenCase& golden_;
  at::Device device_;
  model::DenseParameters parameters_;
  model::MixrecModel model_;
  at::Tensor user_ids_, item_ids_, user_table_, item_table_;
  model::CfRows d_rows_;
};

}  // namespace mixrec
