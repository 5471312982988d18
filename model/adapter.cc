#include "model/adapter.h"

namespace mixrec::model {

void AddOuterProduct(const at::Tensor& a, const at::Tensor& b, at::Tensor gradient, double factor) {
  if (a.scalar_type() == gradient.scalar_type()) {
    gradient.addmm_(a.t(), b, /*beta=*/1, factor);
  } else {
    gradient.add_(at::mm(a.t(), b), factor);
  }
}

Adapter::Adapter(const std::string& name, const ModelOptions& options, bool parallel,
                 const DenseParameters& parameters)
    : activation_(options.adapter_activation),
      parallel_(parallel),
      adds_input_(parallel && options.parallel_form == ParallelForm::kLiteral),
      factor_(parallel && !adds_input_ ? options.parallel_scale : 1.0),
      down_weight_(parameters.compute(name + ".down.weight")),
      down_bias_(parameters.compute(name + ".down.bias")),
      up_weight_(parameters.compute(name + ".up.weight")),
      up_bias_(parameters.compute(name + ".up.bias")),
      d_down_weight_(parameters.gradient(name + ".down.weight")),
      d_down_bias_(parameters.gradient(name + ".down.bias")),
      d_up_weight_(parameters.gradient(name + ".up.weight")),
      d_up_bias_(parameters.gradient(name + ".up.bias")) {}

at::Tensor Adapter::Forward(const at::Tensor& input, const at::Tensor& base, Saved* saved) const {
  saved->before = at::addmm(down_bias_, input, down_weight_.t());
  switch (activation_) {
    case AdapterActivation::kNone:
      saved->after = saved->before;
      break;
    case AdapterActivation::kRelu:
      saved->after = saved->before.relu();
      break;
    case AdapterActivation::kGelu:
      saved->after = at::gelu(saved->before);
      break;
  }
  return at::addmm(base, saved->after, up_weight_.t(), /*beta=*/1, /*alpha=*/factor_);
}

at::Tensor Adapter::Backward(const at::Tensor& d_raw, const at::Tensor& input, const Saved& saved,
                             const at::Tensor& base_gradient) const {
  AddOuterProduct(d_raw, saved.after, d_up_weight_, factor_);
  at::Tensor d_bottleneck = at::mm(d_raw, up_weight_);
  if (factor_ != 1.0) d_bottleneck.mul_(factor_);
  switch (activation_) {
    case AdapterActivation::kNone:
      break;
    case AdapterActivation::kRelu:
      d_bottleneck = at::threshold_backward(d_bottleneck, saved.after, 0);
      break;
    case AdapterActivation::kGelu:
      d_bottleneck = at::gelu_backward(d_bottleneck, saved.before);
      break;
  }
  AddOuterProduct(d_bottleneck, input, d_down_weight_);
  d_down_bias_.add_(d_bottleneck.sum(0, false, at::kFloat));
  if (base_gradient.defined()) return at::addmm(base_gradient, d_bottleneck, down_weight_);
  return at::mm(d_bottleneck, down_weight_);
}

}  // namespace mixrec::model
