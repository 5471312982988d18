// Products on the GPU through cuBLASLt.
#include "common/log.h"
#include "tensor/product_task_cuda.h"
#include "tensor/products.h"

namespace mixrec::tensor::cuda {
namespace {

void Run(const Task& task) {
  CHECK(TryRun(task)) << "no algorithm for a product [" << task.d.size(0) << ", " << task.d.size(1)
                      << "]";
}

// A bias in the type that the epilogue wants.
at::Tensor BiasFor(const at::Tensor& bias, const at::Tensor& out) {
  return bias.scalar_type() == out.scalar_type() ? bias : bias.to(out.scalar_type());
}

}  // namespace

void Product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
             const at::Tensor& addend, at::Tensor out, double scale) {
  Task task;
  task.scale = scale;
  task.a = {weight, true};
  task.b = {x, false};
  task.c = addend;
  task.d = out;
  if (bias.defined()) {
    task.vector = BiasFor(bias, out);
    task.epilogue = CUBLASLT_EPILOGUE_BIAS;
  }
  Run(task);
}

// The library can also keep a mask for the gradient and apply it to a later product. On an H100,
// for 17,000 rows of 3,072, that takes longer than one more pass over the gradient: its masking is
// a kernel of its own.
at::Tensor ReluProduct(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  const at::Tensor value = at::empty({x.size(0), weight.size(0)}, x.options());
  Task task;
  task.a = {weight, true};
  task.b = {x, false};
  task.d = value;
  task.vector = BiasFor(bias, value);
  task.epilogue = CUBLASLT_EPILOGUE_RELU_BIAS;
  Run(task);
  return value;
}

void InputGradient(const at::Tensor& d_y, const at::Tensor& weight, const at::Tensor& addend,
                   at::Tensor d_x) {
  Task task;
  task.a = {weight, false};
  task.b = {d_y, false};
  task.c = addend;
  task.d = d_x;
  Run(task);
}

void AddOuterProduct(const at::Tensor& a, const at::Tensor& b, at::Tensor gradient, double scale,
                     const at::Tensor& column_sums) {
  Task task;
  task.scale = scale;
  task.a = {b, false};
  task.b = {a, true};
  task.c = gradient;
  task.d = gradient;
  if (column_sums.defined()) {
    task.vector = column_sums;
    task.epilogue = CUBLASLT_EPILOGUE_BGRADB;
    if (TryRun(task)) return;
    at::Tensor sums = column_sums;
    at::sum_out(sums, a, 0, /*keepdim=*/false, at::kFloat);
    task.vector = at::Tensor();
    task.epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  }
  Run(task);
}

}  // namespace mixrec::tensor::cuda
