#include "tensor/products.h"

#include <ATen/Parallel.h>

#include "common/log.h"

namespace mixrec::tensor {
namespace {

void CheckRows(const at::Tensor& matrix, const char* name) {
  CHECK(matrix.defined() && matrix.dim() == 2 && (matrix.size(1) <= 1 || matrix.stride(1) == 1))
      << name << " must be a matrix with unit column stride";
}

// out = max(0, out + bias), NaN where it was: one pass over the memory, where ATen's product with a
// bias first copies it into every row, and its ReLU is another pass.
void AddBiasAndClamp(const at::Tensor& bias, at::Tensor out) {
  const int64_t width = out.size(1);
  const float* biases = bias.data_ptr<float>();
  float* values = out.data_ptr<float>();
  at::parallel_for(0, out.size(0), 16, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) {
      float* to = values + row * width;
      for (int64_t c = 0; c < width; ++c) {
        const float value = to[c] + biases[c];
        to[c] = value < 0 ? 0 : value;
      }
    }
  });
}

}  // namespace

void Product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
             const at::Tensor& addend, at::Tensor out, double scale) {
  CheckRows(x, "x");
  CheckRows(weight, "weight");
  CheckRows(out, "out");
  CHECK_EQ(x.size(1), weight.size(1));
  if (out.numel() == 0) return;
#ifdef MIXREC_CUDA
  if (out.is_cuda()) return cuda::Product(x, weight, bias, addend, out, scale);
#endif
  if (addend.defined()) {
    at::addmm_out(out, addend, x, weight.t(), /*beta=*/1, scale);
    if (bias.defined()) out.add_(bias);
  } else if (bias.defined()) {
    at::addmm_out(out, bias, x, weight.t(), /*beta=*/1, scale);
  } else {
    at::mm_out(out, x, weight.t());
    if (scale != 1) out.mul_(scale);
  }
}

at::Tensor Product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                   const at::Tensor& addend, double scale) {
  at::Tensor out = at::empty({x.size(0), weight.size(0)}, x.options());
  Product(x, weight, bias, addend, out, scale);
  return out;
}

at::Tensor ReluProduct(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  CheckRows(x, "x");
  CheckRows(weight, "weight");
#ifdef MIXREC_CUDA
  if (x.is_cuda() && x.size(0) > 0) return cuda::ReluProduct(x, weight, bias);
#endif
  if (x.scalar_type() != at::kFloat || !bias.defined()) return Product(x, weight, bias).relu_();
  const at::Tensor out = Product(x, weight);
  AddBiasAndClamp(bias.contiguous(), out);
  return out;
}

void InputGradient(const at::Tensor& d_y, const at::Tensor& weight, const at::Tensor& addend,
                   at::Tensor d_x) {
  CheckRows(d_y, "d_y");
  CheckRows(weight, "weight");
  CheckRows(d_x, "d_x");
  CHECK_EQ(d_y.size(1), weight.size(0));
  if (d_x.numel() == 0) return;
#ifdef MIXREC_CUDA
  if (d_x.is_cuda()) return cuda::InputGradient(d_y, weight, addend, d_x);
#endif
  if (addend.defined()) {
    at::addmm_out(d_x, addend, d_y, weight);
  } else {
    at::mm_out(d_x, d_y, weight);
  }
}

at::Tensor InputGradient(const at::Tensor& d_y, const at::Tensor& weight,
                         const at::Tensor& addend) {
  at::Tensor d_x = at::empty({d_y.size(0), weight.size(1)}, d_y.options());
  InputGradient(d_y, weight, addend, d_x);
  return d_x;
}

at::Tensor ReluInputGradient(const at::Tensor& d_y, const at::Tensor& weight,
                             const at::Tensor& input) {
  at::Tensor d_x = InputGradient(d_y, weight);
  return at::threshold_backward_out(d_x, d_x, input, 0);
}

void AddOuterProduct(const at::Tensor& a, const at::Tensor& b, at::Tensor gradient, double scale,
                     at::Tensor column_sums) {
  CheckRows(a, "a");
  CheckRows(b, "b");
  CHECK(gradient.scalar_type() == at::kFloat && gradient.size(0) == a.size(1) &&
        gradient.size(1) == b.size(1));
  if (a.size(0) == 0) {
    if (column_sums.defined()) column_sums.zero_();
    return;
  }
#ifdef MIXREC_CUDA
  if (a.is_cuda()) return cuda::AddOuterProduct(a, b, gradient, scale, column_sums);
#endif
  if (column_sums.defined()) at::sum_out(column_sums, a, 0, /*keepdim=*/false, at::kFloat);
  if (a.scalar_type() == at::kFloat) {
    gradient.addmm_(a.t(), b, /*beta=*/1, scale);
  } else {
    gradient.add_(at::mm(a.t(), b), scale);
  }
}

}  // namespace mixrec::tensor
