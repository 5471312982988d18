// Tensors as message frames and back, without copies.
#pragma once

#include <ATen/ATen.h>

#include <memory>

#include "net/buffer.h"

namespace mixrec::ps {

// The bytes of a contiguous CPU tensor, which stays alive with the buffer and must not change.
inline net::Buffer BufferOf(const at::Tensor& tensor) {
  return {tensor.data_ptr(), tensor.nbytes(), std::make_shared<at::Tensor>(tensor)};
}

// A read-only CPU tensor over a frame, whose size must fit.
inline at::Tensor TensorOf(const net::Buffer& buffer, at::ScalarType type, at::IntArrayRef sizes) {
  if (buffer.empty()) return at::empty(sizes, type);
  return at::from_blob(
      const_cast<char*>(buffer.data()), sizes, [buffer](void*) {}, type);
}

}  // namespace mixrec::ps
