// Memory of messages and results that is used again: a new block of half a MiB costs more in page
// faults than in the bytes that are written to it.
#pragma once

#include <cstddef>
#include <memory>

#include "net/buffer.h"

namespace mixrec::net {

// Blocks live as long as a buffer over them, also beyond the pool. Any thread, also for letting go
// of buffers.
class BufferPool {
 public:
  // Keeps up to `keep_bytes` of memory that no buffer uses.
  explicit BufferPool(size_t keep_bytes = size_t{64} << 20);

  // As Buffer::Make; the memory, aligned for tensors, holds old bytes before `fill(char*)`.
  template <typename Fill>
  Buffer Make(size_t size, Fill fill) {
    if (size == 0) return {};
    const std::shared_ptr<char> block = Take(size);
    fill(block.get());
    return {block.get(), size, block};
  }

 private:
  class Blocks;
  std::shared_ptr<char> Take(size_t size);

  std::shared_ptr<Blocks> blocks_;
};

}  // namespace mixrec::net
