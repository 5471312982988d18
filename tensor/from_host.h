// Lists of the host as tensors on a device.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

namespace mixrec::tensor {

// Rows to index by: [n] int64.
inline at::Tensor IndexTensor(const std::vector<int32_t>& rows, at::Device device) {
  return at::tensor(at::ArrayRef<int32_t>(rows), at::kInt).to(at::kLong).to(device);
}

// [n] fp32.
inline at::Tensor FloatTensor(const std::vector<float>& values, at::Device device) {
  return at::tensor(at::ArrayRef<float>(values), at::kFloat).to(device);
}

}  // namespace mixrec::tensor
