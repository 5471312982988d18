#include "model/kernels.h"

#include "common/log.h"
#include "model/kernels_cpu.h"
#ifdef MIXREC_CUDA
#include "model/kernels_cuda.h"
#endif

namespace mixrec::model {
namespace {

// Rows may be strided, columns may not.
void CheckMatrix(const at::Tensor& tensor, int64_t rows, int64_t columns, const char* name) {
  CHECK(tensor.defined() && tensor.dim() == 2 && tensor.size(0) == rows &&
        tensor.size(1) == columns && (columns <= 1 || tensor.stride(1) == 1))
      << name << " must be [" << rows << ", " << columns << "] with unit column stride";
}

void CheckAttention(const AttentionInputs& inputs, const AttentionLayout& layout) {
  const int64_t width = inputs.q.size(1);
  CHECK_GT(inputs.heads, 0);
  CHECK_EQ(width % inputs.heads, 0) << "heads must divide the width";
  CheckMatrix(inputs.q, layout.query_rows.numel(), width, "q");
  CheckMatrix(inputs.k, inputs.k.size(0), width, "k");
  CheckMatrix(inputs.v, inputs.k.size(0), width, "v");
  if (inputs.column_k.defined()) {
    CheckMatrix(inputs.column_k, inputs.column_k.size(0), width, "column_k");
    CheckMatrix(inputs.column_v, inputs.column_k.size(0), width, "column_v");
  }
}

void CheckBranch(const Branch& branch, const at::Tensor& residual, const char* name) {
  CheckMatrix(branch.raw, residual.size(0), residual.size(1), name);
  if (branch.extra.defined()) CheckMatrix(branch.extra, residual.size(0), residual.size(1), name);
  if (branch.bias.defined()) CHECK_EQ(branch.bias.numel(), residual.size(1)) << name << " bias";
}

void CheckNorm(const FollowingNorm& norm, const at::Tensor& y) {
  if (norm.weight.defined()) CheckMatrix(norm.y, y.size(0), y.size(1), "norm of y");
}

}  // namespace

#ifdef MIXREC_CUDA
#define MIXREC_DISPATCH(tensor, call) \
  if ((tensor).is_cuda()) {           \
    cuda::call;                       \
  } else {                            \
    cpu::call;                        \
  }
#else
#define MIXREC_DISPATCH(tensor, call) \
  CHECK((tensor).is_cpu());           \
  cpu::call
#endif

void AttentionForward(const AttentionInputs& inputs, const AttentionLayout& layout, at::Tensor out,
                      at::Tensor log_sum_exp) {
  CheckAttention(inputs, layout);
  CHECK_EQ(out.size(0), inputs.context ? 2 : 1);
  MIXREC_DISPATCH(out, AttentionForward(inputs, layout, out, log_sum_exp));
}

void AttentionBackward(const AttentionInputs& inputs, const AttentionLayout& layout,
                       const at::Tensor& out, const at::Tensor& log_sum_exp,
                       const at::Tensor& d_out, AttentionGradients* gradients) {
  CheckAttention(inputs, layout);
  CHECK(d_out.sizes() == out.sizes());
  MIXREC_DISPATCH(out, AttentionBackward(inputs, layout, out, log_sum_exp, d_out, gradients));
}

void ResidualForward(const Branch& branch, const at::Tensor& residual, const Dropout& dropout,
                     at::Tensor y, const FollowingNorm& norm) {
  CheckBranch(branch, residual, "branch");
  CheckMatrix(y, residual.size(0), residual.size(1), "y");
  CheckNorm(norm, y);
  MIXREC_DISPATCH(y, ResidualForward(branch, residual, dropout, y, norm));
}

void ResidualBackward(const at::Tensor& d_y, double scale, const Dropout& dropout, at::Tensor d_raw,
                      at::Tensor d_bias) {
  CheckMatrix(d_raw, d_y.size(0), d_y.size(1), "d_raw");
  MIXREC_DISPATCH(d_y, ResidualBackward(d_y, scale, dropout, d_raw, d_bias));
}

void GateForward(Branch* causal, Branch* context, const at::Tensor& gate_weight,
                 const at::Tensor& gate_bias, const at::Tensor& residual, const Dropout& dropout,
                 at::Tensor y, at::Tensor beta, const FollowingNorm& norm) {
  CheckBranch(*causal, residual, "causal expert");
  CheckBranch(*context, residual, "context expert");
  CheckMatrix(gate_weight, 2, 2 * residual.size(1), "gate_weight");
  CheckMatrix(beta, residual.size(0), 2, "beta");
  CheckNorm(norm, y);
  MIXREC_DISPATCH(
      y, GateForward(causal, context, gate_weight, gate_bias, residual, dropout, y, beta, norm));
}

void GateBackward(const at::Tensor& d_y, const Branch& causal, const Branch& context,
                  const at::Tensor& gate_weight, const at::Tensor& beta, const Dropout& dropout,
                  GateGradients* gradients) {
  CheckMatrix(causal.raw, d_y.size(0), d_y.size(1), "q");
  CheckMatrix(context.raw, d_y.size(0), d_y.size(1), "p");
  MIXREC_DISPATCH(d_y, GateBackward(d_y, causal, context, gate_weight, beta, dropout, gradients));
}

void LayerNormForward(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                      at::Tensor y, at::Tensor mean, at::Tensor rstd) {
  CheckMatrix(y, x.size(0), x.size(1), "y");
  MIXREC_DISPATCH(x, LayerNormForward(x, weight, bias, y, mean, rstd));
}

void LayerNormBackward(const at::Tensor& d_y, const at::Tensor& x, const at::Tensor& weight,
                       const at::Tensor& mean, const at::Tensor& rstd, at::Tensor d_x) {
  CheckMatrix(d_x, x.size(0), x.size(1), "d_x");
  MIXREC_DISPATCH(x, LayerNormBackward(d_y, x, weight, mean, rstd, d_x));
}

}  // namespace mixrec::model
