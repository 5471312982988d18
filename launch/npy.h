// NumPy's .npy format, version 1.0: for those who take the item embeddings elsewhere.
#pragma once

#include <ATen/ATen.h>

#include <string>

#include "common/status.h"

namespace mixrec::launch {

// Writes a tensor of any shape as little-endian float32 in C order, atomically.
absl::Status WriteNpy(const std::string& path, const at::Tensor& tensor);

}  // namespace mixrec::launch
