#include "model/pretrain_model.h"

#include <ATen/Context.h>
#include <ATen/core/grad_mode.h>

#include "common/log.h"
#include "common/random.h"
#include "tensor/softmax.h"

namespace mixrec::model {
namespace {

constexpr double kNormEpsilon = 1e-5;

// Every tensor of a pre-LN backbone without projections, in a fixed order.
std::vector<at::Tensor*> Members(Backbone* backbone) {
  std::vector<at::Tensor*> members = {&backbone->word_embedding, &backbone->position_embedding,
                                      &backbone->final_ln_weight, &backbone->final_ln_bias};
  for (OptLayer& layer : backbone->layers) {
    members.insert(members.end(),
                   {&layer.qkv_weight, &layer.qkv_bias, &layer.out_weight, &layer.out_bias,
                    &layer.fc1_weight, &layer.fc1_bias, &layer.fc2_weight, &layer.fc2_bias,
                    &layer.ln1_weight, &layer.ln1_bias, &layer.ln2_weight, &layer.ln2_bias});
  }
  return members;
}

// The default generator of a device, started anew: dropout then depends on the step alone.
void SeedDropout(at::Device device, uint64_t key) {
  at::Generator generator = at::globalContext().defaultGenerator(device);
  const std::lock_guard<std::mutex> lock(generator.mutex());
  generator.set_current_seed(key);
}

}  // namespace

PretrainModel::PretrainModel(const PretrainOptions& options, const Backbone& initial)
    : options_(options), parameters_(initial) {
  CHECK(!initial.project_in.defined() && initial.final_ln_weight.defined());
  const at::NoGradGuard no_gradient;
  const std::vector<at::Tensor*> members = Members(&parameters_);
  int64_t size = 0;
  for (const at::Tensor* member : members) size += member->numel();
  value_ = at::zeros({size}, at::TensorOptions().device(options.device).dtype(at::kFloat));
  gradient_ = at::zeros_like(value_);
  int64_t begin = 0;
  for (at::Tensor* member : members) {
    const at::Tensor source = *member;
    const int64_t count = source.numel();
    *member = value_.narrow(0, begin, count).view(source.sizes()).detach();
    member->copy_(source);
    member->set_requires_grad(true);
    member->mutable_grad() = gradient_.narrow(0, begin, count).view(source.sizes());
    begin += count;
  }
}

double PretrainModel::LossAndGradient(const PretrainBatch& batch, int64_t step) {
  gradient_.zero_();
  SeedDropout(options_.device,
              HashKey(options_.seed, "pretrain.dropout", static_cast<uint64_t>(step)));
  const at::Tensor states = States(batch);  // [B T, D]
  at::Tensor d_states, losses;
  {
    // The tied output projection: its gradient is added to the word embedding's.
    const at::NoGradGuard no_gradient;
    const auto wide = value_.options();
    const int64_t rows = states.size(0), vocab = parameters_.config.vocab_size;
    const at::Tensor labels = batch.targets.to(options_.device).view({-1});
    losses = tensor::SoftmaxCrossEntropy(
        states.detach(), parameters_.word_embedding.detach().to(options_.compute_dtype),
        at::zeros({vocab}, wide), labels, at::full({rows}, 1.0 / static_cast<double>(rows), wide),
        &d_states, parameters_.word_embedding.grad(), at::zeros({vocab}, wide));
  }
  states.backward(d_states);
  return losses.mean().item<double>();
}

at::Tensor PretrainModel::States(const PretrainBatch& batch) const {
  at::Tensor x = at::embedding(parameters_.word_embedding, batch.inputs.to(options_.device)) +
                 at::embedding(parameters_.position_embedding, batch.positions.to(options_.device));
  x = Dropout(x.to(options_.compute_dtype));
  for (const OptLayer& layer : parameters_.layers) x = Layer(layer, x);
  x = Norm(x, parameters_.final_ln_weight, parameters_.final_ln_bias);
  return x.reshape({-1, x.size(-1)});
}

at::Tensor PretrainModel::Layer(const OptLayer& layer, const at::Tensor& x) const {
  const at::Tensor a = Norm(x, layer.ln1_weight, layer.ln1_bias);
  const at::Tensor y = x + Dropout(Attention(layer, a));
  const at::Tensor f = Norm(y, layer.ln2_weight, layer.ln2_bias);
  const at::Tensor r = at::relu(Linear(f, layer.fc1_weight, layer.fc1_bias));
  return y + Dropout(Linear(r, layer.fc2_weight, layer.fc2_bias));
}

at::Tensor PretrainModel::Attention(const OptLayer& layer, const at::Tensor& a) const {
  const OptConfig& config = parameters_.config;
  const int64_t rows = a.size(0), tokens = a.size(1);
  const at::Tensor qkv = Linear(a, layer.qkv_weight, layer.qkv_bias)
                             .view({rows, tokens, 3, config.heads, config.head_size()})
                             .permute({2, 0, 3, 1, 4});  // [3, B, H, T, head]
  const at::Tensor mixed = at::scaled_dot_product_attention(
      qkv[0], qkv[1], qkv[2], /*attn_mask=*/std::nullopt, /*dropout_p=*/0.0, /*is_causal=*/true);
  return Linear(mixed.transpose(1, 2).reshape({rows, tokens, config.hidden}), layer.out_weight,
                layer.out_bias);
}

at::Tensor PretrainModel::Linear(const at::Tensor& x, const at::Tensor& weight,
                                 const at::Tensor& bias) const {
  return at::linear(x, weight.to(x.scalar_type()), bias.to(x.scalar_type()));
}

at::Tensor PretrainModel::Norm(const at::Tensor& x, const at::Tensor& weight,
                               const at::Tensor& bias) const {
  return at::layer_norm(x, {x.size(-1)}, weight.to(x.scalar_type()), bias.to(x.scalar_type()),
                        kNormEpsilon);
}

at::Tensor PretrainModel::Dropout(const at::Tensor& x) const {
  return options_.dropout > 0 ? at::dropout(x, options_.dropout, /*train=*/true) : x;
}

}  // namespace mixrec::model
