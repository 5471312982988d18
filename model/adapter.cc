#include "model/adapter.h"

namespace mixrec::model {

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

Branch Adapter::Forward(const at::Tensor& input, const at::Tensor& base, Saved* saved) const {
  saved->before = tensor::Product(input, down_weight_, down_bias_);
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
  const bool with_bias = input.is_cuda();
  Branch branch;
  branch.raw =
      tensor::Product(saved->after, up_weight_, with_bias ? up_bias_ : at::Tensor(), base, factor_);
  if (!with_bias) branch.bias = up_bias_;
  if (adds_input_) branch.extra = input;
  branch.scale = scale();
  return branch;
}

Adapter::Folded Adapter::Fold(const at::Tensor& weight, const at::Tensor& bias) const {
  const auto fp32 = [](const at::Tensor& tensor) { return tensor.to(at::kFloat); };
  const at::Tensor down = fp32(down_weight_), up = fp32(up_weight_);
  const at::Tensor inner_bias = at::addmv(fp32(down_bias_), down, fp32(bias));
  return {at::addmm(fp32(weight), up, at::mm(down, fp32(weight))).to(weight.scalar_type()),
          (fp32(bias) + at::addmv(fp32(up_bias_), up, inner_bias)).to(bias.scalar_type())};
}

void Adapter::Backward(const at::Tensor& d_raw, const at::Tensor& input, const Saved& saved,
                       const at::Tensor& base_gradient, at::Tensor d_input,
                       tensor::SideStream* side) const {
  side->Run({d_raw, saved.after},
            [&] { AddOuterProduct(d_raw, saved.after, d_up_weight_, factor_); });
  at::Tensor d_bottleneck = tensor::InputGradient(d_raw, up_weight_);
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
  side->Run({d_bottleneck, input},
            [&] { AddOuterProduct(d_bottleneck, input, d_down_weight_, 1, d_down_bias_); });
  tensor::InputGradient(d_bottleneck, down_weight_, base_gradient, d_input);
}

}  // namespace mixrec::model
