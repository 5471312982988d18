// The fused pieces of a DAMoE layer between its matrix products. Every function has a CPU and a
// CUDA implementation of this one signature (kernels_cpu.cc, kernels_cuda.cu), chosen by the device
// of its tensors; CPU takes fp32, CUDA fp32 and bf16 (accumulating in fp32).
//
// R query rows (= T, or the rows read in the last layer); T stream rows; D hidden; H heads;
// C columns. Tensors are row-major with unit column stride; rows may be strided (views of qkv).
#pragma once

#include <ATen/ATen.h>

#include <cstdint>

#include "model/dropout_hash.h"
#include "tensor/side_stream.h"

namespace mixrec::model {

// Which keys a query row sees. All int32 on the model's device (and a copy on the host for CPU
// work).
struct AttentionLayout {
  at::Tensor query_rows;  // [R] stream row of every query, ascending
  // [documents, 5]: query begin, query end, key begin, key end (stream rows), sees prompt (0/1).
  // A query sees own keys <= its row, and rows [0, prompt_rows) when it sees the prompt.
  at::Tensor causal;
  // [groups, 6]: query begin, query end, key begin, key end, user column, item column (-1: none).
  // A query sees all keys of its group and the group's columns (paper MASK_context).
  at::Tensor context;
  at::Tensor query_document;  // [R] index into causal
  at::Tensor query_group;     // [R] index into context
  // The same in tiles (attention_tiles.h), for kernels that take whole tiles; undefined: no tiles.
  at::Tensor tiles;                          // [tiles, kTileFields]
  at::Tensor key_tiles;                      // [.], -1: none
  at::Tensor shared_starts, shared_entries;  // [prompt_rows + C + 1], [.]
  int32_t prompt_rows = 0;
};

struct AttentionInputs {
  at::Tensor q;                   // [R, D]
  at::Tensor k, v;                // [T, D]
  at::Tensor column_k, column_v;  // [C, D]; undefined: no columns
  int64_t heads = 0;
  bool context = true;  // false: causal only (modes base and moe)
};

struct AttentionGradients {
  at::Tensor q;                   // [R, D]
  at::Tensor k, v;                // [T, D]
  at::Tensor column_k, column_v;  // [C, D]
};

// out[0] = causal attention, out[1] (if inputs.context) = context attention, softmax(q k^T /
// sqrt(D/H)) v.
//   out [1 or 2, R, D]; log_sum_exp [1 or 2, R, H] fp32.
void AttentionForward(const AttentionInputs& inputs, const AttentionLayout& layout, at::Tensor out,
                      at::Tensor log_sum_exp);
// Writes (not adds) all gradients; rows nobody saw get zeros.
void AttentionBackward(const AttentionInputs& inputs, const AttentionLayout& layout,
                       const at::Tensor& out, const at::Tensor& log_sum_exp,
                       const at::Tensor& d_out, AttentionGradients* gradients);

// Dropout of a residual branch: keep iff hash(row_keys[row], site, column) is above probability.
// The mask is a pure function, so the backward pass makes it again.
struct Dropout {
  double probability = 0.0;
  at::Tensor row_keys;  // [R] int64; undefined when probability is 0
  uint64_t site = 0;    // layer and branch
};

// A branch before its finish: value = scale * (raw + bias + extra).
struct Branch {
  at::Tensor raw;    // [R, D]; overwritten with the value where a function says so
  at::Tensor bias;   // [D], undefined: none
  at::Tensor extra;  // [R, D], undefined: none
  double scale = 1.0;
};

// The layer norm of a sum y, made while y is at hand. Arguments of LayerNormForward.
struct FollowingNorm {
  at::Tensor weight, bias;   // [D]; undefined: none wanted
  at::Tensor y, mean, rstd;  // [R, D], [R], [R], written
};

// y = residual + dropout(value); `value` is not kept.
void ResidualForward(const Branch& branch, const at::Tensor& residual, const Dropout& dropout,
                     at::Tensor y, const FollowingNorm& norm = {});
// d_raw = scale * dropout(d_y) (gradient of raw and of extra); d_bias [D] fp32 += its column sums
// (undefined d_bias: not wanted). d_raw may be d_y.
void ResidualBackward(const at::Tensor& d_y, double scale, const Dropout& dropout, at::Tensor d_raw,
                      at::Tensor d_bias);

// Finishes both experts (raw is overwritten with q and p) and mixes them by the gate:
//   beta = softmax([q ; p] gate_weight^T + gate_bias), y = residual + dropout(beta_0 q + beta_1 p).
//   gate_weight [2, 2D] and gate_bias [2] fp32; y [R, D]; beta [R, 2] fp32.
void GateForward(Branch* causal, Branch* context, const at::Tensor& gate_weight,
                 const at::Tensor& gate_bias, const at::Tensor& residual, const Dropout& dropout,
                 at::Tensor y, at::Tensor beta, const FollowingNorm& norm = {});
struct GateGradients {
  at::Tensor causal_raw, context_raw;    // [R, D], written: gradients of raw (and extra)
  at::Tensor causal_bias, context_bias;  // [D] fp32, added to; undefined: not wanted
  at::Tensor gate_weight, gate_bias;     // [2, 2D], [2] fp32, added to
  tensor::SideStream* side = nullptr;    // where sums over rows come to their end; null: at once
};
// q, p: the finished branches of the forward pass, with their scales.
void GateBackward(const at::Tensor& d_y, const Branch& causal, const Branch& context,
                  const at::Tensor& gate_weight, const at::Tensor& beta, const Dropout& dropout,
                  GateGradients* gradients);

// y = (x - mean) * rstd * weight + bias over rows; mean, rstd [R] fp32. eps 1e-5 as OPT.
void LayerNormForward(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                      at::Tensor y, at::Tensor mean, at::Tensor rstd);
// d_x += gradient of x (weights are frozen). d_x may hold a residual's gradient already.
void LayerNormBackward(const at::Tensor& d_y, const at::Tensor& x, const at::Tensor& weight,
                       const at::Tensor& mean, const at::Tensor& rstd, at::Tensor d_x);

}  // namespace mixrec::model
