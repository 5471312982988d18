// `mixrec bench step`: the speed of the train step beside the machine's matrix product
// (docs/performance.md).
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "collective/group.h"
#include "common/status.h"
#include "data/catalogue.h"
#include "data/dataset.h"
#include "model/backbone.h"
#include "model/options.h"
#include "worker/placement.h"
#include "worker/step_options.h"

namespace mixrec::bench {

// hidden 256, 4 layers: what a CPU pre-trains in minutes.
model::OptConfig TinyShape();

struct StepBenchOptions {
  std::string shape = "tiny";  // tiny, or a published shape such as opt-125m
  int64_t batch = 8;           // users a step
  double seconds = 10;         // of measured steps, at least three steps
  at::Device device = at::kCPU;
  at::ScalarType dtype = at::kFloat;
  uint64_t seed = 1;
  int negatives = 5;            // n_cl
  std::string profile;          // folder for tables and traces of some more steps; empty: none
  model::ModelOptions model;    // all four losses by default
  worker::Placement placement;  // of the tables
  collective::Group* group = nullptr;  // ranks that share every step; null: this process alone
  worker::StepPadding padding = worker::StepPadding::kOnGpu;
};

// Trains a randomly initialised backbone of the shape on real batches of the data, packed
// meanwhile. Tokens and useful FLOPs are counted as in docs/performance.md: every position of an
// unshared document, 2 * 2
// * (5 D^2 + 2 D F) * L a token (frozen products, forward and input gradient). Returns
// {"shape", "batch", "tokens_per_second", "users_per_second", "useful_gflops", "sgemm_gflops",
// "ratio", "peak_bytes" of device memory, "computed_bytes" (worker/memory.h), "step_seconds",
// "phases": seconds a step of this rank, "exposed": the share of the step that this rank waited for
// others, "ranks", "threads", "device"}. With a group all ranks call it, and tokens, users and
// FLOPs are the whole step's.
absl::StatusOr<nlohmann::json> RunStepBench(const data::Dataset& dataset,
                                            const data::Catalogue& catalogue,
                                            const StepBenchOptions& options);

// 2 * 2 * (5 D^2 + 2 D F) * L: the frozen products of a token, forward and as input gradients.
double UsefulFlopsPerToken(const model::OptConfig& config);

// GFLOP/s of one large product [size, size] x [size, size], the median of several: the machine's
// own speed in the same run.
double MatrixProductGflops(at::Device device, at::ScalarType dtype, int64_t size = 2048);

}  // namespace mixrec::bench
