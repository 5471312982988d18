// Private to model/: an adapter of the paper, A(h) = W2 act(W1 h + b1) + b2 + h (Sec. 2.2.5),
// without the parts that the fused kernels of kernels.h finish (b2, the literal parallel form's
// "+ h" and halving).
#pragma once

#include <ATen/ATen.h>

#include <string>

#include "model/options.h"
#include "model/parameters.h"

namespace mixrec::model {

class Adapter {
 public:
  Adapter() = default;
  // Parameters `name`.{down,up}.{weight,bias}; b = bottleneck.
  Adapter(const std::string& name, const ModelOptions& options, bool parallel,
          const DenseParameters& parameters);

  bool parallel() const { return parallel_; }
  // The literal parallel form: its input is added, and the whole is halved.
  bool adds_input() const { return adds_input_; }
  double scale() const { return adds_input_ ? 0.5 : 1.0; }
  const at::Tensor& up_bias() const { return up_bias_; }             // [D] compute dtype
  const at::Tensor& up_bias_gradient() const { return d_up_bias_; }  // [D] fp32

  struct Saved {
    at::Tensor before, after;  // [R, b] around the activation; the same tensor without one
  };
  // base + s W2 act(W1 input + b1): [R, D]; s is 1 but for the scaled parallel form.
  at::Tensor Forward(const at::Tensor& input, const at::Tensor& base, Saved* saved) const;
  // Adds the weights' gradients; returns the gradient of `input` through the bottleneck, added to
  // `base_gradient` when that is defined.
  at::Tensor Backward(const at::Tensor& d_raw, const at::Tensor& input, const Saved& saved,
                      const at::Tensor& base_gradient) const;

 private:
  AdapterActivation activation_ = AdapterActivation::kNone;
  bool parallel_ = false, adds_input_ = false;
  double factor_ = 1.0;  // s
  at::Tensor down_weight_, down_bias_, up_weight_, up_bias_;
  at::Tensor d_down_weight_, d_down_bias_, d_up_weight_, d_up_bias_;
};

// Adds factor * a^T b to an fp32 gradient.
void AddOuterProduct(const at::Tensor& a, const at::Tensor& b, at::Tensor gradient,
                     double factor = 1.0);

}  // namespace mixrec::model
