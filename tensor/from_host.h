// Lists of the host as tensors on a device, and the way back. None of it waits for the device's
// work.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

namespace mixrec::tensor {

// A tensor in host memory, there.
inline at::Tensor ToDevice(const at::Tensor& host, at::Device device) {
  if (device.is_cpu() || host.numel() == 0) return host.to(device);
  return host.pin_memory().to(device, /*non_blocking=*/true);
}

// In host memory once the device has done what it was given so far.
inline at::Tensor ToHost(const at::Tensor& tensor) {
  if (tensor.is_cpu() || tensor.numel() == 0) return tensor.cpu();
  at::Tensor host = at::empty(tensor.sizes(),
                              at::TensorOptions().dtype(tensor.scalar_type()).pinned_memory(true));
  return host.copy_(tensor, /*non_blocking=*/true);
}

// Rows to index by: [n] int64.
inline at::Tensor IndexTensor(const std::vector<int32_t>& rows, at::Device device) {
  return ToDevice(at::tensor(at::ArrayRef<int32_t>(rows), at::kInt).to(at::kLong), device);
}

// [n] fp32.
inline at::Tensor FloatTensor(const std::vector<float>& values, at::Device device) {
  return ToDevice(at::tensor(at::ArrayRef<float>(values), at::kFloat), device);
}

}  // namespace mixrec::tensor
