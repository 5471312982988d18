// Private to tensor/products_cuda.cc: one product of cuBLASLt, which is column-major: a row-major
// [rows, columns] matrix is its [columns, rows] one. fp32 and bf16.
#pragma once

#include <ATen/ATen.h>
#include <cublasLt.h>

namespace mixrec::tensor::cuda {

struct Operand {
  at::Tensor matrix;        // row-major; rows are the library's columns
  bool transposed = false;  // in the library's terms
};

// D [m, n] = scale A B + C, with an epilogue.
struct Task {
  Operand a, b;
  at::Tensor c, d;    // undefined c: none
  at::Tensor vector;  // bias
  const at::Tensor& addend() const { return c.defined() ? c : d; }
  double scale = 1;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
};

// On the current stream. False where the library cannot do it. Which algorithm is taken is chosen
// once for a shape: the library's first proposal, or for large products the fastest of several,
// measured (outside of captures) on scratch memory.
bool TryRun(const Task& task);

}  // namespace mixrec::tensor::cuda
