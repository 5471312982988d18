#include "tensor/product_task_cuda.h"

#include <ATen/cuda/CUDAContext.h>
#include <ATen/cuda/CUDAEvent.h>
#include <c10/cuda/CUDAGraphsC10Utils.h>
#include <c10/cuda/CUDAGuard.h>

#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <tuple>
#include <vector>

#include "common/log.h"

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

Key KeyOf(const Task& task, int64_t rows) {
  const at::Tensor& c = task.addend();
  return {task.d.get_device(),
          static_cast<int>(TypeOf(task.a.matrix)),
          static_cast<int>(TypeOf(task.d)),
          task.a.matrix.size(0),
          task.a.matrix.size(1),
          rows,
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

// A task in the library's terms.
struct Prepared {
  explicit Prepared(const Task& task)
      : description(Describe(task)),
        a(LayoutOf(task.a.matrix)),
        b(LayoutOf(task.b.matrix)),
        c(LayoutOf(task.addend())),
        d(LayoutOf(task.d)) {}
  Description description;
  Layout a, b, c, d;
};

using Algorithm = cublasLtMatmulAlgo_t;

// The library's proposals, the likely best one first.
std::vector<Algorithm> Proposals(const Task& task, const Prepared& prepared, int most) {
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
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, AlignmentOf(task.addend()));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, AlignmentOf(task.d));
  std::vector<cublasLtMatmulHeuristicResult_t> results(static_cast<size_t>(most));
  int count = 0;
  const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
      at::cuda::getCurrentCUDABlasLtHandle(), prepared.description.get(), prepared.a.get(),
      prepared.b.get(), prepared.c.get(), prepared.d.get(), made, most, results.data(), &count);
  std::vector<Algorithm> algorithms;
  for (int i = 0; i < count && status == CUBLAS_STATUS_SUCCESS; ++i) {
    algorithms.push_back(results[static_cast<size_t>(i)].algo);
  }
  return algorithms;
}

void Launch(const Task& task, const Prepared& prepared, const Algorithm& algorithm,
            const void* addend, void* out) {
  const at::Tensor workspace =
      at::empty({static_cast<int64_t>(kWorkspaceBytes)}, task.d.options().dtype(at::kByte));
  const float alpha = static_cast<float>(task.scale), beta = task.c.defined() ? 1.0f : 0.0f;
  Succeed(cublasLtMatmul(at::cuda::getCurrentCUDABlasLtHandle(), prepared.description.get(), &alpha,
                         task.a.matrix.data_ptr(), prepared.a.get(), task.b.matrix.data_ptr(),
                         prepared.b.get(), &beta, addend, prepared.c.get(), out, prepared.d.get(),
                         &algorithm, workspace.data_ptr(), kWorkspaceBytes,
                         at::cuda::getCurrentCUDAStream(task.d.get_device())),
          "product");
}

// Products for which it pays to measure: from some 20 GFLOP on the library's first proposal is up
// to a fifth slower than its best one.
constexpr double kMeasuredFlops = 2e10;
constexpr int kProposals = 8;

bool IsMeasured(const Task& task) {
  const double flops = 2.0 * static_cast<double>(task.d.numel()) *
                       static_cast<double>(task.a.matrix.size(task.a.transposed ? 1 : 0));
  return flops >= kMeasuredFlops && task.d.scalar_type() == at::kBFloat16 &&
         c10::cuda::currentStreamCaptureStatusMayInitCtx() == c10::cuda::CaptureStatus::None;
}

// Algorithms that do not split a sum add in one order, so that results do not depend on which one
// is taken.
bool SplitsSums(const Algorithm& algorithm) {
  int32_t parts = 0;
  size_t written = 0;
  const cublasStatus_t status = cublasLtMatmulAlgoConfigGetAttribute(
      &algorithm, CUBLASLT_ALGO_CONFIG_SPLITK_NUM, &parts, sizeof(parts), &written);
  return status != CUBLAS_STATUS_SUCCESS || parts > 1;
}

// The fastest of some algorithms on the task's operands; the result goes nowhere.
Algorithm Fastest(const Task& task, const Prepared& prepared,
                  const std::vector<Algorithm>& algorithms) {
  const at::Tensor scratch = at::empty({task.d.size(0) * task.d.stride(0)}, task.d.options());
  at::cuda::CUDAEvent begin(cudaEventDefault), end(cudaEventDefault);
  Algorithm best = algorithms.front();
  float least = std::numeric_limits<float>::infinity();
  for (const Algorithm& algorithm : algorithms) {
    if (SplitsSums(algorithm)) continue;
    const auto launch = [&] {
      Launch(task, prepared, algorithm, task.addend().data_ptr(), scratch.data_ptr());
    };
    launch();
    for (int repeat = 0; repeat < 3; ++repeat) {
      begin.record();
      launch();
      end.record();
      end.synchronize();
      if (begin.elapsed_time(end) >= least) continue;
      least = begin.elapsed_time(end);
      best = algorithm;
    }
  }
  return best;
}

bool Fits(const Prepared& prepared, const Algorithm& algorithm) {
  cublasLtMatmulHeuristicResult_t result = {};
  const cublasStatus_t status = cublasLtMatmulAlgoCheck(
      at::cuda::getCurrentCUDABlasLtHandle(), prepared.description.get(), prepared.a.get(),
      prepared.b.get(), prepared.c.get(), prepared.d.get(), &algorithm, &result);
  return status == CUBLAS_STATUS_SUCCESS && result.workspaceSize <= kWorkspaceBytes;
}

// Rows for which one measurement serves: they differ by less than an eighth.
int64_t Class(int64_t rows) {
  int64_t unit = 1;
  while (unit * 16 <= rows) unit *= 2;
  return (rows + unit - 1) / unit * unit;
}

// What has been chosen so far, in this process.
class Choices {
 public:
  static Choices& Get() {
    static auto* choices = new Choices();
    return *choices;
  }
  // Nothing where the library cannot do it.
  std::optional<Algorithm> Of(const Task& task, const Prepared& prepared) {
    const int64_t rows = task.b.matrix.size(0);
    const Key key = KeyOf(task, rows);
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = chosen_.find(key);
    if (found != chosen_.end()) return found->second;
    const bool measured = IsMeasured(task);
    const Key of_class = KeyOf(task, -Class(rows));
    const auto known = chosen_.find(of_class);
    if (known != chosen_.end() && known->second && Fits(prepared, *known->second)) {
      return chosen_[key] = known->second;
    }
    const std::vector<Algorithm> proposals = Proposals(task, prepared, measured ? kProposals : 1);
    if (proposals.empty()) return chosen_[key] = std::nullopt;
    if (!measured) return chosen_[key] = proposals.front();
    return chosen_[key] = chosen_[of_class] = Fastest(task, prepared, proposals);
  }

 private:
  std::mutex mutex_;
  std::map<Key, std::optional<Algorithm>> chosen_;
};

}  // namespace

bool TryRun(const Task& task) {
  const c10::cuda::CUDAGuard guard(task.d.device());
  const Prepared prepared(task);
  const std::optional<Algorithm> algorithm = Choices::Get().Of(task, prepared);
  if (!algorithm) return false;
  Launch(task, prepared, *algorithm, task.addend().data_ptr(), task.d.data_ptr());
  return true;
}

}  // namespace mixrec::tensor::cuda
