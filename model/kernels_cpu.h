// CPU implementations behind kernels.h; fp32, signatures and contracts as there.
#pragma once

#include "model/kernels.h"

namespace mixrec::model::cpu {

void AttentionForward(const AttentionInputs& inputs, const AttentionLayout& layout, at::Tensor out,
                      at::Tensor log_sum_exp);
void AttentionBackward(const AttentionInputs& inputs, const AttentionLayout& layout,
                       const at::Tensor& out, const at::Tensor& log_sum_exp,
                       const at::Tensor& d_out, AttentionGradients* gradients);
void ResidualForward(const Branch& branch, const at::Tensor& residual, const Dropout& dropout,
                     at::Tensor y);
void ResidualBackward(const at::Tensor& d_y, double scale, const Dropout& dropout, at::Tensor d_raw,
                      at::Tensor d_bias);
void GateForward(Branch* causal, Branch* context, const at::Tensor& gate_weight,
                 const at::Tensor& gate_bias, const at::Tensor& residual, const Dropout& dropout,
                 at::Tensor y, at::Tensor beta);
void GateBackward(const at::Tensor& d_y, const Branch& causal, const Branch& context,
                  const at::Tensor& gate_weight, const at::Tensor& beta, const Dropout& dropout,
                  GateGradients* gradients);
void LayerNormForward(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                      at::Tensor y, at::Tensor mean, at::Tensor rstd);
void LayerNormBackward(const at::Tensor& d_y, const at::Tensor& x, const at::Tensor& weight,
                       const at::Tensor& mean, const at::Tensor& rstd, at::Tensor d_x);

}  // namespace mixrec::model::cpu
