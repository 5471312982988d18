// Making backbones: the published OPT shapes, random weights, and writing one in the Hugging Face
// layout (config.json and model.safetensors, which transformers' OPTForCausalLM loads).
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>
#include <vector>

#include "common/status.h"
#include "model/backbone.h"

namespace mixrec::model {

// The names PublishedShape knows, smallest first.
std::vector<std::string> PublishedShapes();

// The shape of a published OPT (Zhang et al. 2022, Table 1), e.g. "opt-125m". UsageError lists the
// names there are.
absl::StatusOr<OptConfig> PublishedShape(const std::string& name);

// A backbone on the CPU with weights N(0, .02^2), biases 0 and norms 1. Every value is a function
// of (seed, tensor name, index) alone. MemoryError when the host has not enough memory.
absl::StatusOr<Backbone> RandomBackbone(const OptConfig& config, uint64_t seed,
                                        at::ScalarType dtype);

// Writes `folder`/config.json and model.safetensors, as `dtype`; makes the folder. The tied output
// projection is written once, as the word embedding. config.json comes last: a folder that has one
// is whole.
absl::Status WriteBackbone(const Backbone& backbone, const std::string& folder,
                           at::ScalarType dtype);

// Where a backbone's folder keeps sequence_start (tensor "sequence", fp32).
std::string SpecialTokensPath(const std::string& folder);

// N(0, .02^2) in the order of the elements, a function of the key alone.
void FillNormal(uint64_t key, at::Tensor tensor);

// config.json's text.
std::string OptConfigJson(const OptConfig& config, at::ScalarType dtype);

}  // namespace mixrec::model
