#include "net/buffer_pool.h"

#include <gtest/gtest.h>

#include <cstring>
#include <thread>
#include <vector>

namespace mixrec::net {
namespace {

Buffer Filled(BufferPool* pool, size_t size, char value) {
  return pool->Make(size, [&](char* out) { std::memset(out, value, size); });
}

TEST(BufferPool, MemoryIsUsedAgainOnceNobodyHasIt) {
  BufferPool pool;
  Buffer first = Filled(&pool, 1000, 'a');
  const char* memory = first.data();
  const Buffer second = Filled(&pool, 1000, 'b');
  EXPECT_NE(second.data(), memory);
  EXPECT_EQ(first.bytes(), std::string(1000, 'a'));
  const Buffer part = first.Slice(10, 20);
  first = {};
  EXPECT_NE(Filled(&pool, 1000, 'c').data(), memory);  // a part of it lives
  EXPECT_EQ(part.bytes(), std::string(20, 'a'));
}

TEST(BufferPool, WhatIsMuchTooLargeIsNotUsed) {
  BufferPool pool;
  const char* large = Filled(&pool, 1 << 20, 'a').data();
  EXPECT_NE(Filled(&pool, 1 << 18, 'b').data(), large);
  EXPECT_EQ(Filled(&pool, 1 << 19, 'c').data(), large);
}

TEST(BufferPool, KeepsNoMoreThanItIsTold) {
  BufferPool pool(/*keep_bytes=*/4096);
  Buffer kept = Filled(&pool, 4096, 'a'), gone = Filled(&pool, 4096, 'b');
  const char* memory = kept.data();
  kept = {};
  gone = {};  // beyond what is kept
  EXPECT_EQ(Filled(&pool, 4096, 'c').data(), memory);
}

TEST(BufferPool, MemoryIsAlignedForTensors) {
  BufferPool pool;
  std::vector<Buffer> buffers;
  for (const size_t size : {1, 63, 4097, (3 << 20) + 1}) {
    buffers.push_back(Filled(&pool, size, 'a'));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffers.back().data()) % 64, 0u) << size;
  }
  EXPECT_TRUE(Filled(&pool, 0, 'a').empty());
}

TEST(BufferPool, BuffersOutliveItInOtherThreads) {
  std::thread thread;
  {
    BufferPool pool;
    thread = std::thread([buffer = Filled(&pool, 1000, 'a')]() mutable {
      EXPECT_EQ(buffer.bytes(), std::string(1000, 'a'));
      buffer = {};
    });
  }
  thread.join();
}

}  // namespace
}  // namespace mixrec::net
