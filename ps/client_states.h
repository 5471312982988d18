// Private to ps/: cutting states into messages, and checking the answers about them.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "common/status.h"
#include "net/buffer.h"
#include "ps/tensor_buffer.h"

namespace mixrec::ps {

// States [first, first + count) of a call, as part `part` of `parts` messages.
struct StateBlock {
  int64_t first = 0, count = 0;
  int32_t part = 0, parts = 1;
};

// At least one block, so that a call without states still reaches every shard.
inline std::vector<StateBlock> CutStates(int64_t states, int64_t width, int64_t message_bytes) {
  const int64_t rows =
      std::max<int64_t>(1, message_bytes / (width * static_cast<int64_t>(sizeof(float))));
  const int64_t parts = std::max<int64_t>(1, (states + rows - 1) / rows);
  std::vector<StateBlock> blocks;
  for (int64_t part = 0; part < parts; ++part) {
    const int64_t first = part * rows;
    blocks.push_back({first, std::min(rows, states - first), static_cast<int32_t>(part),
                      static_cast<int32_t>(parts)});
  }
  return blocks;
}

template <typename T>
net::Buffer FrameOf(const std::vector<T>& values, const StateBlock& block) {
  return net::Buffer::Copy(values.data() + block.first,
                           static_cast<size_t>(block.count) * sizeof(T));
}

inline net::Buffer FrameOf(const at::Tensor& tensor, const StateBlock& block) {
  return BufferOf(tensor.narrow(0, block.first, block.count));
}

// A tensor over a frame of 4-byte elements; an error when it has another number of them.
absl::StatusOr<at::Tensor> TakeTensor(const net::Buffer& frame, at::ScalarType type,
                                      const std::vector<int64_t>& sizes);

// CHECKs that states are [N, D] fp32 on the CPU and contiguous.
void CheckStates(const at::Tensor& states);

}  // namespace mixrec::ps
