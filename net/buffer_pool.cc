#include "net/buffer_pool.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

namespace mixrec::net {
namespace {

constexpr size_t kAlignment = 64;  // of LibTorch's tensors on the CPU
constexpr size_t kHugePage = size_t{2} << 20;

size_t RoundUp(size_t size, size_t unit) { return (size + unit - 1) / unit * unit; }

struct Block {
  char* memory = nullptr;
  size_t size = 0;
};

// In huge pages from one of them on: a page fault for each instead of 512.
Block NewBlock(size_t size) {
  const size_t unit = size >= kHugePage ? kHugePage : kAlignment;
  const Block block{static_cast<char*>(std::aligned_alloc(unit, RoundUp(size, unit))),
                    RoundUp(size, unit)};
  if (block.memory == nullptr) throw std::bad_alloc();
  if (unit == kHugePage) ::madvise(block.memory, block.size, MADV_HUGEPAGE);
  return block;
}

}  // namespace

class BufferPool::Blocks {
 public:
  explicit Blocks(size_t keep_bytes) : keep_bytes_(keep_bytes) {}
  Blocks(const Blocks&) = delete;
  Blocks& operator=(const Blocks&) = delete;
  ~Blocks() {
    for (const Block& block : free_) std::free(block.memory);
  }

  // The smallest one that fits and is not more than twice as large.
  Block Take(size_t size) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      auto best = free_.end();
      for (auto it = free_.begin(); it != free_.end(); ++it) {
        if (it->size < size || it->size / 2 > size) continue;
        if (best == free_.end() || it->size < best->size) best = it;
      }
      if (best != free_.end()) {
        const Block block = *best;
        free_bytes_ -= block.size;
        free_.erase(best);
        return block;
      }
    }
    return NewBlock(size);
  }

  void Give(const Block& block) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (free_bytes_ + block.size <= keep_bytes_) {
        free_bytes_ += block.size;
        free_.insert(free_.begin(), block);  // what was used last is in the cache
        return;
      }
    }
    std::free(block.memory);
  }

 private:
  const size_t keep_bytes_;
  std::mutex mutex_;
  std::vector<Block> free_;
  size_t free_bytes_ = 0;
};

BufferPool::BufferPool(size_t keep_bytes) : blocks_(std::make_shared<Blocks>(keep_bytes)) {}

std::shared_ptr<char> BufferPool::Take(size_t size) {
  const Block block = blocks_->Take(size);
  return {block.memory, [block, blocks = blocks_](char*) { blocks->Give(block); }};
}

}  // namespace mixrec::net
