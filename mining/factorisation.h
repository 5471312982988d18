// Matrix factorisation of the user-item matrix (paper Appendix A: item latent vectors of 1,000
// dimensions).
//
// A = U S V' cut after `dimensions` singular values; an item's vector is its row of V S^(1/2). That
// is the limit, without regularisation, of the factors P, Q that minimise
// |A - P Q'|^2 + lambda (|P|^2 + |Q|^2), whose weight is shared evenly between both sides. Found by
// randomised subspace iteration on A'A (Halko, Martinsson & Tropp 2011), which never exists: memory
// is two dense matrices [items, dimensions] however many users there are.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>

#include "common/status.h"
#include "mining/user_item_matrix.h"

namespace mixrec::mining {

struct FactorisationOptions {
  int64_t dimensions = 1000;
  int64_t oversampling = 24;  // columns of the subspace beyond `dimensions`
  int iterations = 6;         // products with A'A; each shrinks the error of a singular value s by
                              // (s_next / s)^2
  uint64_t seed = 1;
};

struct Factorisation {
  // [items, K] fp32, V S^(1/2); K is smaller than `dimensions` when the matrix has a smaller rank.
  at::Tensor item_vectors;
  at::Tensor singular_values;  // [K] fp64, descending
};

// On the CPU, on all threads. The same matrix, options and number of threads give the same bits.
// `progress` is called with the iterations done, first 0, and their total. A stop request ends it
// with a StoppedError before the next iteration; MemoryError when the matrices do not fit.
absl::StatusOr<Factorisation> FactoriseItems(const UserItemMatrix& matrix,
                                             const FactorisationOptions& options,
                                             const std::function<void(int, int)>& progress = {});

}  // namespace mixrec::mining
