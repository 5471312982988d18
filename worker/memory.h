// How much memory a run will take, told before it is taken.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>

#include "common/status.h"
#include "data/catalogue.h"
#include "data/dataset.h"
#include "model/backbone.h"
#include "model/options.h"

namespace mixrec::worker {

struct MemoryInputs {
  model::OptConfig backbone;
  model::ModelOptions options;
  at::ScalarType dtype = at::kFloat;  // the backbone's and the activations'
  int64_t users = 0, items = 0;
  int64_t batch_tokens = 0;  // stream rows of the largest step
  int64_t read_rows = 0;     // [SEQ] and [ALIGN] rows of it
  bool training = true;
  bool servers = false;  // hold the item projection and the CF tables
};

// Bytes. Closed forms over shapes: an upper estimate, within about a third of what is used.
struct MemoryEstimate {
  int64_t backbone = 0;
  int64_t parameters = 0;   // dense: values, compute copy, gradients, two moments
  int64_t tables = 0;       // CF rows with moments
  int64_t activations = 0;  // of the largest step, with its logits
  int64_t total() const { return backbone + parameters + tables + activations; }
};
MemoryEstimate EstimateMemory(const MemoryInputs& inputs);

// "1.2 GiB: backbone 0.5 GiB, parameters ..."
std::string Describe(const MemoryEstimate& estimate);

// MemoryError with the figures when `bytes` are more than the device has free.
absl::Status CheckMemory(const MemoryEstimate& estimate, at::Device device, bool backbone_loaded);

// Stream rows and rows read of the largest step that `batch` sequences can make: the longest
// sequences together, with their alignment documents.
struct LargestStep {
  int64_t tokens = 0, read_rows = 0;
};
LargestStep LargestTrainingStep(const data::Dataset& dataset, const data::Catalogue& catalogue,
                                int64_t batch, int max_items, int queries_per_user, int negatives,
                                bool alignment);

}  // namespace mixrec::worker
