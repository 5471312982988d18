// Matrix products with what is done to their results on the way out: bias, an addend, ReLU. On a
// GPU one kernel each (cuBLASLt's epilogues); on the CPU the reference. fp32 or bf16 with fp32
// sums.
//
// Rows N; a layer's weight [M, K] as in checkpoints: M out, K in. Matrices are row-major; rows may
// be strided, columns may not.
#pragma once

#include <ATen/ATen.h>

namespace mixrec::tensor {

// out [N, M] = scale * x [N, K] weight^T + bias [M] + addend [N, M]; undefined: none. `addend` may
// be `out`.
void Product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
             const at::Tensor& addend, at::Tensor out, double scale = 1);
at::Tensor Product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias = {},
                   const at::Tensor& addend = {}, double scale = 1);

// max(0, x weight^T + bias).
at::Tensor ReluProduct(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);

// d_x [N, K] = d_y [N, M] weight + addend [N, K]. `addend` may be `d_x`.
void InputGradient(const at::Tensor& d_y, const at::Tensor& weight, const at::Tensor& addend,
                   at::Tensor d_x);
at::Tensor InputGradient(const at::Tensor& d_y, const at::Tensor& weight,
                         const at::Tensor& addend = {});
// The same of a layer whose input [N, K] came out of a ReLU: zero where that was not positive.
at::Tensor ReluInputGradient(const at::Tensor& d_y, const at::Tensor& weight,
                             const at::Tensor& input);

// gradient [M, K] fp32 += scale * a [N, M]^T b [N, K]. `column_sums` [M] fp32, unless undefined,
// becomes the sum of a's rows.
void AddOuterProduct(const at::Tensor& a, const at::Tensor& b, at::Tensor gradient,
                     double scale = 1, at::Tensor column_sums = {});

namespace cuda {

// As above, for tensors on a GPU.
void Product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
             const at::Tensor& addend, at::Tensor out, double scale);
at::Tensor ReluProduct(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);
void InputGradient(const at::Tensor& d_y, const at::Tensor& weight, const at::Tensor& addend,
                   at::Tensor d_x);
void AddOuterProduct(const at::Tensor& a, const at::Tensor& b, at::Tensor gradient, double scale,
                     const at::Tensor& column_sums);

}  // namespace cuda
}  // namespace mixrec::tensor
