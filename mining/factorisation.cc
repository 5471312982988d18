#include "mining/factorisation.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <array>
#include <utility>

#include "common/log.h"
#include "common/random.h"
#include "common/stop_signal.h"
#include "model/backbone.h"

namespace mixrec::mining {
namespace {

// Columns that a thread takes through the sparse matrix at a time: two cache lines of a row.
constexpr int64_t kColumns = 32;
// Rows that are converted to fp64 at a time.
constexpr int64_t kRows = 8192;
// Directions that are shorter than 1e-6 of the longest are rounding errors of fp32.
constexpr double kSmallestSquare = 1e-12;

// out = A'A x for [items, width] fp32. Every column is summed in the order of the users, so the
// result does not depend on the threads.
void ApplyGram(const UserItemMatrix& matrix, const at::Tensor& x, at::Tensor out) {
  const int64_t width = x.size(1);
  const float* in = x.data_ptr<float>();
  float* sums = out.zero_().data_ptr<float>();
  at::parallel_for(0, (width + kColumns - 1) / kColumns, 1, [&](int64_t begin, int64_t end) {
    for (int64_t slice = begin; slice < end; ++slice) {
      const int64_t column = slice * kColumns;
      const int64_t columns = std::min(kColumns, width - column);
      for (int32_t user = 0; user < matrix.users(); ++user) {
        std::array<float, kColumns> sum{};
        for (const int32_t item : matrix.row(user)) {
          const float* row = in + item * width + column;
          for (int64_t c = 0; c < columns; ++c) sum[static_cast<size_t>(c)] += row[c];
        }
        for (const int32_t item : matrix.row(user)) {
          float* row = sums + item * width + column;
          for (int64_t c = 0; c < columns; ++c) row[c] += sum[static_cast<size_t>(c)];
        }
      }
    }
  });
}

// x'y [X, Y] fp64, in blocks of rows: the squares of the shortest directions would drown in fp32.
at::Tensor Products(const at::Tensor& x, const at::Tensor& y) {
  at::Tensor sum = at::zeros({x.size(1), y.size(1)}, at::kDouble);
  for (int64_t row = 0; row < x.size(0); row += kRows) {
    const int64_t rows = std::min(kRows, x.size(0) - row);
    const at::Tensor left = x.narrow(0, row, rows).to(at::kDouble);
    sum.addmm_(left.t(), x.is_same(y) ? left : y.narrow(0, row, rows).to(at::kDouble));
  }
  return sum;
}

// x w as the rows of `storage` (which has room for them and shares no memory with x).
at::Tensor Rotated(const at::Tensor& x, const at::Tensor& w, const at::Tensor& storage) {
  const int64_t items = x.size(0), width = w.size(1);
  at::Tensor out = storage.view({-1}).narrow(0, 0, items * width).view({items, width});
  const at::Tensor narrow = w.to(at::kFloat);
  for (int64_t row = 0; row < items; row += kRows) {
    const int64_t rows = std::min(kRows, items - row);
    at::Tensor target = out.narrow(0, row, rows);
    at::mm_out(target, x.narrow(0, row, rows), narrow);
  }
  return out;
}

struct EigenPairs {
  at::Tensor values;   // [K] fp64, descending, those above the noise
  at::Tensor vectors;  // [N, K] fp64
};

EigenPairs LargestEigenvectors(const at::Tensor& symmetric, int64_t most) {
  const auto [values, vectors] = at::linalg_eigh((symmetric + symmetric.t()) / 2);
  const at::Tensor descending = values.flip(0);
  const double floor = std::max(descending[0].item<double>() * kSmallestSquare, 1e-300);
  const int64_t kept = std::min(most, descending.gt(floor).sum().item<int64_t>());
  return {descending.narrow(0, 0, kept), vectors.flip(1).narrow(1, 0, kept)};
}

// Two buffers [items, width] and the orthonormal columns that one of them holds.
class Subspace {
 public:
  Subspace(const UserItemMatrix& matrix, int64_t width, uint64_t seed) : matrix_(matrix) {
    const int64_t items = matrix.items();
    columns_ = at::empty({items, width}, at::kFloat);
    spare_ = at::empty({items, width}, at::kFloat);
    float* values = columns_.data_ptr<float>();
    at::parallel_for(0, items, 256, [&](int64_t begin, int64_t end) {
      for (int64_t item = begin; item < end; ++item) {
        RandomStream random(HashKey(seed, "mf", static_cast<uint64_t>(item)));
        for (int64_t c = 0; c < width; ++c) {
          values[item * width + c] = static_cast<float>(random.Normal());
        }
      }
    });
  }

  int64_t width() const { return columns_.size(1); }

  // Towards the largest eigenvectors of A'A.
  void Iterate() {
    Multiply();
    std::swap(columns_, spare_);
    Orthonormalise();
  }

  // Rayleigh-Ritz: the eigenvectors of A'A inside the subspace, each times the fourth root of its
  // eigenvalue, the square root of its singular value.
  Factorisation Finish(int64_t dimensions) {
    Orthonormalise();  // once more: the first pass leaves an error of the condition number squared
    Multiply();
    const EigenPairs eigen = LargestEigenvectors(Products(columns_, Spare()), dimensions);
    Factorisation result;
    result.singular_values = eigen.values.sqrt();
    result.item_vectors = Rotated(columns_, eigen.vectors * result.singular_values.sqrt(), spare_);
    return result;
  }

 private:
  at::Tensor Spare() const {
    return spare_.view({-1}).narrow(0, 0, columns_.numel()).view(columns_.sizes());
  }
  void Multiply() { ApplyGram(matrix_, columns_, spare_ = Spare()); }
  void Orthonormalise() {
    const EigenPairs eigen = LargestEigenvectors(Products(columns_, columns_), width());
    const at::Tensor rotated = Rotated(columns_, eigen.vectors / eigen.values.sqrt(), spare_);
    spare_ = std::exchange(columns_, rotated);
  }

  const UserItemMatrix& matrix_;
  at::Tensor columns_, spare_;
};

}  // namespace

absl::StatusOr<Factorisation> FactoriseItems(const UserItemMatrix& matrix,
                                             const FactorisationOptions& options,
                                             const std::function<void(int, int)>& progress) {
  CHECK(options.dimensions >= 1 && options.iterations >= 1 && options.oversampling >= 0);
  CHECK_GE(matrix.items(), 1);
  const at::NoGradGuard no_gradient;
  const int64_t items = matrix.items();
  const int64_t width = std::min(options.dimensions + options.oversampling, items);
  MIXREC_RETURN_IF_ERROR(model::CheckHostMemory(
      StrCat("the factorisation of ", items, " items to ", options.dimensions, " dimensions"),
      2 * items * width * static_cast<int64_t>(sizeof(float)) +
          4 * kRows * width * static_cast<int64_t>(sizeof(double))));
  Subspace subspace(matrix, width, options.seed);
  if (progress) progress(0, options.iterations);
  for (int done = 0; done < options.iterations; ++done) {
    if (StopRequested()) {
      return StoppedError("the factorisation was stopped after ", done, " of ", options.iterations,
                          " iterations; run the same command again to start it anew");
    }
    subspace.Iterate();
    if (progress) progress(done + 1, options.iterations);
  }
  return subspace.Finish(options.dimensions);
}

}  // namespace mixrec::mining
