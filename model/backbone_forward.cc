#include <ATen/core/grad_mode.h>

#include <cmath>

#include "common/log.h"
#include "model/backbone.h"

namespace mixrec::model {
namespace {

constexpr int64_t kPositionOffset = 2;  // OPT's table starts with two rows that it never uses
constexpr double kNormEpsilon = 1e-5;

at::Tensor Norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  return at::layer_norm(x, {x.size(-1)}, weight, bias, kNormEpsilon);
}

// [T, D] to [T, D], every query sees the keys up to its own position.
at::Tensor CausalAttention(const OptConfig& config, const OptLayer& layer, const at::Tensor& a) {
  const int64_t tokens = a.size(0);
  const auto split = at::linear(a, layer.qkv_weight, layer.qkv_bias)
                         .view({tokens, 3, config.heads, config.head_size()})
                         .permute({1, 2, 0, 3});  // [3, H, T, head]
  const double scale = 1.0 / std::sqrt(static_cast<double>(config.head_size()));
  const at::Tensor hidden = at::ones({tokens, tokens}, a.options().dtype(at::kBool)).triu(1);
  const at::Tensor scores =
      at::matmul(split[0] * scale, split[1].transpose(1, 2)).masked_fill(hidden, -INFINITY);
  const at::Tensor mixed = at::matmul(at::softmax(scores, -1), split[2]);  // [H, T, head]
  return at::linear(mixed.transpose(0, 1).reshape({tokens, config.hidden}), layer.out_weight,
                    layer.out_bias);
}

at::Tensor FeedForward(const OptLayer& layer, const at::Tensor& f) {
  return at::linear(at::relu(at::linear(f, layer.fc1_weight, layer.fc1_bias)), layer.fc2_weight,
                    layer.fc2_bias);
}

at::Tensor ForwardLayer(const OptConfig& config, const OptLayer& layer, const at::Tensor& x) {
  const auto norm1 = [&](const at::Tensor& t) { return Norm(t, layer.ln1_weight, layer.ln1_bias); };
  const auto norm2 = [&](const at::Tensor& t) { return Norm(t, layer.ln2_weight, layer.ln2_bias); };
  if (config.pre_layer_norm) {
    const at::Tensor y = x + CausalAttention(config, layer, norm1(x));
    return y + FeedForward(layer, norm2(y));
  }
  const at::Tensor y = norm1(x + CausalAttention(config, layer, x));
  return norm2(y + FeedForward(layer, y));
}

}  // namespace

PlainForward ForwardPlain(const Backbone& backbone, const std::vector<int64_t>& ids) {
  const OptConfig& config = backbone.config;
  const int64_t tokens = static_cast<int64_t>(ids.size());
  CHECK(tokens >= 1 && tokens <= config.max_positions)
      << tokens << " tokens; a backbone takes 1 to " << config.max_positions;
  for (const int64_t id : ids) CHECK(id >= 0 && id < config.vocab_size) << "token id " << id;

  const at::NoGradGuard no_gradient;
  const at::Tensor index =
      at::tensor(ids, at::TensorOptions().dtype(at::kLong)).to(backbone.word_embedding.device());
  at::Tensor x = at::embedding(backbone.word_embedding, index);
  if (backbone.project_in.defined()) x = at::linear(x, backbone.project_in);
  x = x + backbone.position_embedding.narrow(0, kPositionOffset, tokens);

  PlainForward result;
  for (const OptLayer& layer : backbone.layers) {
    result.layer_inputs.push_back(x);
    x = ForwardLayer(config, layer, x);
  }
  if (config.final_layer_norm) x = Norm(x, backbone.final_ln_weight, backbone.final_ln_bias);
  if (backbone.project_out.defined()) x = at::linear(x, backbone.project_out);
  result.last_hidden_state = x;
  result.logits = at::linear(x, backbone.word_embedding);
  return result;
}

}  // namespace mixrec::model
