// The dense trainable parameters: one flat fp32 buffer with a named view a tensor, its gradient
// beside it in the same layout. Optimisers, all-reduce and clipping see the flat buffers; the model
// sees views.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tensor/initial_rows.h"

namespace mixrec::model {

struct ParameterSpec {
  std::string name;  // as in checkpoints, e.g. damoe.0.causal.down.weight
  std::vector<int64_t> shape;
  double init_stddev = 0.0;  // initial values N(0, init_stddev^2)
};

class DenseParameters {
 public:
  // Zero-filled; `compute_dtype` is what the forward pass reads (a copy of the fp32 master when it
  // is not fp32, made by RefreshCompute).
  DenseParameters(std::vector<ParameterSpec> specs, at::Device device,
                  at::ScalarType compute_dtype);

  // Values from a counter-based stream keyed by (seed, name, row): the same for any layout of ranks
  // or devices (model.md D34).
  void Initialise(uint64_t seed);
  // Copies master values into the compute copy; call after every change of the values.
  void RefreshCompute();
  void ZeroGradient() { flat_gradient_.zero_(); }

  bool has(const std::string& name) const { return index_.count(name) > 0; }
  at::Tensor value(const std::string& name) const;     // fp32 view of the master
  at::Tensor gradient(const std::string& name) const;  // fp32 view
  at::Tensor compute(const std::string& name) const;   // compute_dtype view

  // Where the tensors whose names begin with `prefix`, neighbours all, lie in the flat buffers:
  // [first, last). Empty when there are none.
  std::pair<int64_t, int64_t> RangeOf(const std::string& prefix) const;

  const std::vector<ParameterSpec>& specs() const { return specs_; }
  at::Tensor flat_value() const { return flat_value_; }        // [size] fp32
  at::Tensor flat_gradient() const { return flat_gradient_; }  // [size] fp32
  // [size] compute_dtype; undefined when that is fp32.
  at::Tensor flat_copy() const {
    return flat_compute_.scalar_type() == at::kFloat ? at::Tensor() : flat_compute_;
  }
  int64_t size() const { return flat_value_.numel(); }

 private:
  at::Tensor View(const at::Tensor& flat, const std::string& name) const;

  std::vector<ParameterSpec> specs_;
  std::map<std::string, size_t> index_;
  std::vector<int64_t> offsets_;
  at::Tensor flat_value_, flat_gradient_, flat_compute_;
};

using tensor::FillInitialRows;

}  // namespace mixrec::model
