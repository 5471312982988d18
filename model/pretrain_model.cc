#include "model/pretrain_model.h"

#include <ATen/Context.h>
#include <ATen/core/grad_mode.h>

#include "common/log.h"
#include "common/random.h"
#include "model/backbone_create.h"
#include "tensor/softmax.h"

namespace mixrec::model {
namespace {

constexpr double kNormEpsilon = 1e-5;
constexpr int64_t kEndOfText = 2;  // </s>

// The default generator of a device, started anew: dropout then depends on the step alone.
void SeedDropout(at::Device device, uint64_t key) {
  at::Generator generator = at::globalContext().defaultGenerator(device);
  const std::lock_guard<std::mutex> lock(generator.mutex());
  generator.set_current_seed(key);
}

}  // namespace

PretrainModel::PretrainModel(const PretrainOptions& options, const Backbone& initial,
                             const at::Tensor& targets)
    : options_(options), parameters_(initial) {
  CHECK(!initial.project_in.defined() && initial.final_ln_weight.defined());
  const at::NoGradGuard no_gradient;
  if (targets.defined()) {
    const at::Tensor words = initial.word_embedding;
    parameters_.sequence_start = words[std::min<int64_t>(kEndOfText, words.size(0) - 1)].clone();
    head_weight_ = at::empty({targets.size(1), initial.config.hidden}, at::kFloat);
    FillNormal(HashKey(options.seed, "distill.head"), head_weight_);
    head_bias_ = at::zeros({targets.size(1)}, at::kFloat);
    targets_ = targets.to(options.device);
  }
  const std::vector<at::Tensor*> members = Members();
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

// Every tensor of a pre-LN backbone without projections, in a fixed order.
std::vector<at::Tensor*> PretrainModel::Members() {
  std::vector<at::Tensor*> members = {&parameters_.word_embedding, &parameters_.position_embedding,
                                      &parameters_.final_ln_weight, &parameters_.final_ln_bias};
  for (OptLayer& layer : parameters_.layers) {
    members.insert(members.end(),
                   {&layer.qkv_weight, &layer.qkv_bias, &layer.out_weight, &layer.out_bias,
                    &layer.fc1_weight, &layer.fc1_bias, &layer.fc2_weight, &layer.fc2_bias,
                    &layer.ln1_weight, &layer.ln1_bias, &layer.ln2_weight, &layer.ln2_bias});
  }
  if (head_weight_.defined()) {
    members.insert(members.end(), {&parameters_.sequence_start, &head_weight_, &head_bias_});
  }
  return members;
}

double PretrainModel::LossAndGradient(const PretrainBatch& batch, int64_t step) {
  gradient_.zero_();
  SeedDropout(options_.device,
              HashKey(options_.seed, "pretrain.dropout", static_cast<uint64_t>(step)));
  const at::Tensor embedded =
      at::embedding(parameters_.word_embedding, batch.inputs.to(options_.device)) +
      at::embedding(parameters_.position_embedding, batch.positions.to(options_.device));
  const at::Tensor states = States(embedded, nullptr);  // [B T, D]
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

std::pair<double, double> PretrainModel::AddDistillation(const DistillBatch& batch) {
  const at::Device device = options_.device;
  const at::Tensor inputs = batch.inputs.to(device);
  const int64_t vocabulary = parameters_.config.vocab_size;
  const at::Tensor words =
      at::embedding(parameters_.word_embedding, inputs.clamp_max(vocabulary - 1));
  const at::Tensor embedded =
      at::where(inputs.eq(vocabulary).unsqueeze(-1), parameters_.sequence_start, words) +
      at::embedding(parameters_.position_embedding, batch.positions.to(device));
  const Masks masks{batch.causal.to(device), batch.context.to(device)};
  const at::Tensor states =
      States(embedded, &masks).index_select(0, batch.sequence_rows.to(device));
  const at::Tensor heads = at::linear(states.to(at::kFloat), head_weight_, head_bias_);
  const DistillLoss loss = DistillationLoss(options_.distill, heads,
                                            targets_.index_select(0, batch.documents.to(device)));
  loss.loss.backward();
  return {loss.loss.item<double>(), loss.cosine.item<double>()};
}

at::Tensor PretrainModel::States(const at::Tensor& embedded, const Masks* masks) const {
  at::Tensor x = Dropout(embedded.to(options_.compute_dtype));
  for (const OptLayer& layer : parameters_.layers) x = Layer(layer, x, masks);
  x = Norm(x, parameters_.final_ln_weight, parameters_.final_ln_bias);
  return x.reshape({-1, x.size(-1)});
}

at::Tensor PretrainModel::Layer(const OptLayer& layer, const at::Tensor& x,
                                const Masks* masks) const {
  const at::Tensor a = Norm(x, layer.ln1_weight, layer.ln1_bias);
  const at::Tensor y = x + Dropout(Attention(layer, a, masks));
  const at::Tensor f = Norm(y, layer.ln2_weight, layer.ln2_bias);
  const at::Tensor r = at::relu(Linear(f, layer.fc1_weight, layer.fc1_bias));
  return y + Dropout(Linear(r, layer.fc2_weight, layer.fc2_bias));
}

at::Tensor PretrainModel::Attention(const OptLayer& layer, const at::Tensor& a,
                                    const Masks* masks) const {
  const OptConfig& config = parameters_.config;
  const int64_t rows = a.size(0), tokens = a.size(1);
  const at::Tensor qkv = Linear(a, layer.qkv_weight, layer.qkv_bias)
                             .view({rows, tokens, 3, config.heads, config.head_size()})
                             .permute({2, 0, 3, 1, 4});  // [3, B, H, T, head]
  const auto attend = [&](const std::optional<at::Tensor>& mask) {
    return at::scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], mask, /*dropout_p=*/0.0,
                                            /*is_causal=*/!mask.has_value());
  };
  const at::Tensor mixed = masks == nullptr ? attend(std::nullopt)
                                            : (attend(masks->causal) + attend(masks->context)) / 2;
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
