// BERT's forward pass: post-layer-norm blocks, every token sees every other.
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <numeric>

#include "common/log.h"
#include "model/bert.h"

namespace mixrec::model {
namespace {

at::Tensor Norm(const BertConfig& config, const at::Tensor& x, const at::Tensor& weight,
                const at::Tensor& bias) {
  return at::layer_norm(x, {config.hidden}, weight, bias, config.norm_epsilon);
}

at::Tensor Activate(BertActivation activation, const at::Tensor& x) {
  if (activation == BertActivation::kRelu) return at::relu(x);
  return at::gelu(x, activation == BertActivation::kGeluTanh ? "tanh" : "none");
}

at::Tensor Attention(const BertConfig& config, const BertLayer& layer, const at::Tensor& x) {
  const int64_t texts = x.size(0), tokens = x.size(1);
  const at::Tensor qkv = at::linear(x, layer.qkv_weight, layer.qkv_bias)
                             .view({texts, tokens, 3, config.heads, config.head_size()})
                             .permute({2, 0, 3, 1, 4});  // [3, B, H, T, head]
  const at::Tensor mixed = at::scaled_dot_product_attention(qkv[0], qkv[1], qkv[2]);
  return at::linear(mixed.transpose(1, 2).reshape({texts, tokens, config.hidden}), layer.out_weight,
                    layer.out_bias);
}

at::Tensor Forward(const BertConfig& config, const BertLayer& layer, const at::Tensor& x) {
  const at::Tensor y =
      Norm(config, x + Attention(config, layer, x), layer.norm1_weight, layer.norm1_bias);
  const at::Tensor inner =
      Activate(config.activation, at::linear(y, layer.fc1_weight, layer.fc1_bias));
  return Norm(config, y + at::linear(inner, layer.fc2_weight, layer.fc2_bias), layer.norm2_weight,
              layer.norm2_bias);
}

// Texts [first, last) of `order` as [B, T] int64.
at::Tensor Ids(const std::vector<std::vector<int32_t>>& texts, const std::vector<int64_t>& order,
               size_t first, size_t last) {
  const auto tokens = static_cast<int64_t>(texts[static_cast<size_t>(order[first])].size());
  at::Tensor ids = at::empty({static_cast<int64_t>(last - first), tokens}, at::kLong);
  int64_t* out = ids.data_ptr<int64_t>();
  for (size_t k = first; k < last; ++k) {
    const auto& text = texts[static_cast<size_t>(order[k])];
    out = std::copy(text.begin(), text.end(), out);
  }
  return ids;
}

}  // namespace

at::Tensor BertStates(const Bert& bert, const at::Tensor& ids) {
  const BertConfig& config = bert.config;
  CHECK(ids.dim() == 2 && ids.size(1) >= 1 && ids.size(1) <= config.max_positions)
      << "texts of " << ids.size(-1) << " tokens; the encoder takes 1 to " << config.max_positions;
  const at::NoGradGuard no_gradient;
  const at::Tensor positions = bert.position_embedding.narrow(0, 0, ids.size(1));
  at::Tensor x = at::embedding(bert.word_embedding, ids.to(bert.word_embedding.device())) +
                 (positions + bert.token_type_embedding[0]);
  x = Norm(config, x, bert.norm_weight, bert.norm_bias);
  for (const BertLayer& layer : bert.layers) x = Forward(config, layer, x);
  return x;
}

at::Tensor BertMeans(const Bert& bert, const std::vector<std::vector<int32_t>>& texts,
                     int64_t batch_tokens) {
  std::vector<int64_t> order(texts.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  const auto length = [&](int64_t text) { return texts[static_cast<size_t>(text)].size(); };
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return length(a) < length(b); });
  at::Tensor means =
      at::empty({static_cast<int64_t>(texts.size()), bert.config.hidden}, at::kFloat);
  for (size_t first = 0; first < order.size();) {
    const size_t tokens = length(order[first]);
    CHECK_GT(tokens, 0u) << "a text without tokens";
    const size_t most = std::max<size_t>(1, static_cast<size_t>(batch_tokens) / tokens);
    size_t last = first;
    while (last < order.size() && last - first < most && length(order[last]) == tokens) ++last;
    const at::Tensor states = BertStates(bert, Ids(texts, order, first, last));
    const std::vector<int64_t> rows(order.begin() + static_cast<int64_t>(first),
                                    order.begin() + static_cast<int64_t>(last));
    means.index_copy_(0, at::tensor(rows, at::kLong), states.to(at::kFloat).mean(1).cpu());
    first = last;
  }
  return means;
}

}  // namespace mixrec::model
