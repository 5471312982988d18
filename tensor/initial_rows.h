// Initial values of trainable rows (model.md D34).
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>
#include <vector>

namespace mixrec::tensor {

// Fills `rows` [R, ...] fp32 CPU, each row contiguous, with N(0, stddev^2) values keyed by (seed,
// name, row id); `row_ids` [R] names the rows. One definition for dense tensors, tables and shards,
// so that a row starts with the same values wherever it lives.
void FillInitialRows(uint64_t seed, const std::string& name, const std::vector<int64_t>& row_ids,
                     double stddev, at::Tensor rows);

}  // namespace mixrec::tensor
