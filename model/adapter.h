// Private to model/: an adapter of the paper, A(h) = W2 act(W1 h + b1) + b2 + h (Sec. 2.2.5),
// without the parts that the fused kernels of kernels.h finish (b2, the literal parallel form's
// "+ h" and halving).
#pragma once

#include <ATen/ATen.h>

#include <string>

#include "model/kernels.h"
#include "model/options.h"
#include "model/parameters.h"
#include "tensor/products.h"
#include "tensor/side_stream.h"

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
  const at::Tensor& up_bias_gradient() const { return d_up_bias_; }  // [D] fp32

  struct Saved {
    at::Tensor before, after;  // [R, b] around the activation; the same tensor without one
  };
  // The branch with raw = base + s W2 act(W1 input + b1) [R, D]; s is 1 but for the scaled parallel
  // form. On a GPU b2 comes with the product and is no part of the branch's finish.
  Branch Forward(const at::Tensor& input, const at::Tensor& base, Saved* saved) const;
  // A linear serial adapter after a frozen layer is one layer: A(W h + b) = W' h + b'.
  bool folds() const {
    return down_weight_.defined() && !parallel_ && activation_ == AdapterActivation::kNone;
  }
  struct Folded {
    at::Tensor weight, bias;  // as the frozen layer's
  };
  Folded Fold(const at::Tensor& weight, const at::Tensor& bias) const;

  // Adds the weights' gradients and writes that of b1, on the side; d_input = base_gradient (if
  // defined) + the gradient of `input` through the bottleneck. `d_input` may not be `d_raw`.
  void Backward(const at::Tensor& d_raw, const at::Tensor& input, const Saved& saved,
                const at::Tensor& base_gradient, at::Tensor d_input,
                tensor::SideStream* side) const;

 private:
  AdapterActivation activation_ = AdapterActivation::kNone;
  bool parallel_ = false, adds_input_ = false;
  double factor_ = 1.0;  // s
  at::Tensor down_weight_, down_bias_, up_weight_, up_bias_;
  at::Tensor d_down_weight_, d_down_bias_, d_up_weight_, d_up_bias_;
};

using tensor::AddOuterProduct;

}  // namespace mixrec::model
