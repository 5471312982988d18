// Products on the GPU through cuBLASLt, which is column-major: a row-major [rows, columns] matrix
// is its [columns, rows] one.
#include <ATen/cuda/CUDAContext.h>
#include <c10/cuda/CUDAGuard.h>
#include <cublasLt.h>

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <tuple>

#include "common/log.h"
#include "tensor/products.h"

namespace mixrec::tensor::cuda {
namespace {

constexpr size_t kWorkspaceBytes = size_t{32} << 20;

void Succeed(cublasStatus_t status, const char* what) {
  CHECK(status == CUBLAS_STATUS_SUCCESS) << what << ": " << cublasLtGetStatusString(status);
}

cudaDataType_t TypeOf(const at::Tensor& tensor) {
  if (tensor.scalar_type() == at::kFloat) return CUDA_R_32F;
  CHECK(tensor.scalar_type() == at::kBFloat16) << "products on a GPU take fp32 and bf16";
  return CUDA_R_16BF;
}

struct Operand {
  at::Tensor matrix;        // row-major; rows are the library's columns
  bool transposed = false;  // in the library's terms
};

// D [m, n] = scale A B + C, with an epilogue.
struct Task {
  Operand a, b;
  at::Tensor c, d;    // undefined c: none
  at::Tensor vector;  // bias
  double scale = 1;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
};

struct Destroy {
  void operator()(cublasLtMatmulDescOpaque_t* p) const { cublasLtMatmulDescDestroy(p); }
  void operator()(cublasLtMatrixLayoutOpaque_t* p) const { cublasLtMatrixLayoutDestroy(p); }
  void operator()(cublasLtMatmulPreferenceOpaque_t* p) const { cublasLtMatmulPreferenceDestroy(p); }
};
template <typename T>
using Owned = std::unique_ptr<T, Destroy>;
using Description = Owned<cublasLtMatmulDescOpaque_t>;
using Layout = Owned<cublasLtMatrixLayoutOpaque_t>;

Layout LayoutOf(const at::Tensor& matrix) {
  cublasLtMatrixLayout_t layout = nullptr;
  Succeed(cublasLtMatrixLayoutCreate(&layout, TypeOf(matrix), static_cast<uint64_t>(matrix.size(1)),
                                     static_cast<uint64_t>(matrix.size(0)), matrix.stride(0)),
          "matrix layout");
  return Layout(layout);
}

template <typename T>
void Set(const Description& description, cublasLtMatmulDescAttributes_t attribute, T value) {
  Succeed(cublasLtMatmulDescSetAttribute(description.get(), attribute, &value, sizeof(value)),
          "attribute of a product");
}

Description Describe(const Task& task) {
  cublasLtMatmulDesc_t made = nullptr;
  Succeed(cublasLtMatmulDescCreate(&made, CUBLAS_COMPUTE_32F, CUDA_R_32F), "product");
  Description description(made);
  Set(description, CUBLASLT_MATMUL_DESC_TRANSA, task.a.transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
  Set(description, CUBLASLT_MATMUL_DESC_TRANSB, task.b.transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
  Set(description, CUBLASLT_MATMUL_DESC_EPILOGUE, task.epilogue);
  if (task.vector.defined()) {
    Set(description, CUBLASLT_MATMUL_DESC_BIAS_POINTER,
        static_cast<const void*>(task.vector.data_ptr()));
    Set(description, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE,
        static_cast<int32_t>(TypeOf(task.vector)));
  }
  return description;
}

uint32_t AlignmentOf(const at::Tensor& tensor) {
  const auto address = reinterpret_cast<uintptr_t>(tensor.data_ptr());
  uint32_t alignment = 256;
  while (alignment > 1 && address % alignment != 0) alignment /= 2;
  return alignment;
}

// All that the choice of an algorithm depends on.
using Key = std::tuple<int, int, int, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t,
                       int, int, uint32_t, uint32_t, uint32_t, uint32_t>;

Key KeyOf(const Task& task) {
  const at::Tensor& c = task.c.defined() ? task.c : task.d;
  return {task.d.get_device(),
          static_cast<int>(TypeOf(task.a.matrix)),
          static_cast<int>(TypeOf(task.d)),
          task.a.matrix.size(0),
          task.a.matrix.size(1),
          task.b.matrix.size(0),
          task.a.matrix.stride(0),
          task.b.matrix.stride(0),
          c.stride(0),
          task.d.stride(0),
          static_cast<int>(task.epilogue),
          (task.a.transposed ? 1 : 0) + (task.b.transposed ? 2 : 0) + (task.c.defined() ? 4 : 0),
          AlignmentOf(task.a.matrix),
          AlignmentOf(task.b.matrix),
          AlignmentOf(c),
          AlignmentOf(task.d)};
}

// Nothing where the library cannot do it.
std::optional<cublasLtMatmulAlgo_t> Choose(const Task& task, const Description& description,
                                           const Layout& a, const Layout& b, const Layout& c,
                                           const Layout& d) {
  static std::mutex mutex;
  static auto* chosen = new std::map<Key, std::optional<cublasLtMatmulAlgo_t>>();
  const Key key = KeyOf(task);
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = chosen->find(key);
  if (found != chosen->end()) return found->second;

  cublasLtMatmulPreference_t made = nullptr;
  Succeed(cublasLtMatmulPreferenceCreate(&made), "preference");
  const Owned<cublasLtMatmulPreferenceOpaque_t> preference(made);
  const auto set = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
    Succeed(cublasLtMatmulPreferenceSetAttribute(made, attribute, &value, sizeof(value)),
            "attribute of a preference");
  };
  set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<uint64_t>(kWorkspaceBytes));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, AlignmentOf(task.a.matrix));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, AlignmentOf(task.b.matrix));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, AlignmentOf(task.c.defined() ? task.c : task.d));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, AlignmentOf(task.d));
  cublasLtMatmulHeuristicResult_t result = {};
  int count = 0;
  const cublasStatus_t status =
      cublasLtMatmulAlgoGetHeuristic(at::cuda::getCurrentCUDABlasLtHandle(), description.get(),
                                     a.get(), b.get(), c.get(), d.get(), made, 1, &result, &count);
  std::optional<cublasLtMatmulAlgo_t> algorithm;
  if (status == CUBLAS_STATUS_SUCCESS && count > 0) algorithm = result.algo;
  chosen->emplace(key, algorithm);
  return algorithm;
}

// False where the library cannot do it.
bool TryRun(const Task& task) {
  const c10::cuda::CUDAGuard guard(task.d.device());
  const Description description = Describe(task);
  const at::Tensor& addend = task.c.defined() ? task.c : task.d;
  const Layout a = LayoutOf(task.a.matrix), b = LayoutOf(task.b.matrix);
  const Layout c = LayoutOf(addend), d = LayoutOf(task.d);
  const std::optional<cublasLtMatmulAlgo_t> algorithm = Choose(task, description, a, b, c, d);
  if (!algorithm) return false;
  const at::Tensor workspace =
      at::empty({static_cast<int64_t>(kWorkspaceBytes)}, task.d.options().dtype(at::kByte));
  const float alpha = static_cast<float>(task.scale), beta = task.c.defined() ? 1.0f : 0.0f;
  Succeed(cublasLtMatmul(at::cuda::getCurrentCUDABlasLtHandle(), description.get(), &alpha,
                         task.a.matrix.data_ptr(), a.get(), task.b.matrix.data_ptr(), b.get(),
                         &beta, addend.data_ptr(), c.get(), task.d.data_ptr(), d.get(), &*algorithm,
                         workspace.data_ptr(), kWorkspaceBytes,
                         at::cuda::getCurrentCUDAStream(task.d.get_device())),
          "product");
  return true;
}

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
