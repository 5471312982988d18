// Products and transposes of matrices that fit in cache, one thread: what the CPU attention is made
// of. For files that are compiled for several processors (loops.h): everything here has internal
// linkage.
#pragma once

#include <stdint.h>

#include "model/loops.h"

namespace mixrec::model::cpu {
namespace {

constexpr int64_t kLane = 16;  // columns are padded to a multiple of this
inline int64_t Padded(int64_t columns) { return (columns + kLane - 1) / kLane * kLane; }

// A register of floats, and as many rows of a tile as leave none of its sums in memory.
#ifdef __AVX512F__
constexpr int kFloats = 16, kTileRows = 12;
#else
constexpr int kFloats = 8, kTileRows = 6;
#endif
using Vector = float __attribute__((vector_size(4 * kFloats)));

inline Vector Load(const float* from) {
  Vector value;
  __builtin_memcpy(&value, from, sizeof(value));
  return value;
}
inline void Store(float* to, const Vector& value) { __builtin_memcpy(to, &value, sizeof(value)); }

// An operand A(i, k) at values[i * row + k * column], so that it may be transposed.
struct Left {
  const float* values;
  int64_t row, column;
};

// kRows x (kVectors registers) of C.
template <int kRows, int kVectors, bool kAccumulate>
inline void Tile(int64_t depth, const Left& a, Matrix b, Matrix c) {
  Vector sum[kRows][kVectors];
  for (int i = 0; i < kRows; ++i) {
    for (int j = 0; j < kVectors; ++j) {
      sum[i][j] = kAccumulate ? Load(c.data + i * c.stride + j * kFloats) : Vector{};
    }
  }
  for (int64_t k = 0; k < depth; ++k) {
    Vector right[kVectors];
    for (int j = 0; j < kVectors; ++j) right[j] = Load(b.data + k * b.stride + j * kFloats);
    for (int i = 0; i < kRows; ++i) {
      const float value = a.values[i * a.row + k * a.column];
      for (int j = 0; j < kVectors; ++j) sum[i][j] += value * right[j];
    }
  }
  for (int i = 0; i < kRows; ++i) {
    for (int j = 0; j < kVectors; ++j) Store(c.data + i * c.stride + j * kFloats, sum[i][j]);
  }
}

// The last rows, fewer than kTileRows.
template <int kRows, int kVectors, bool kAccumulate>
inline void LastTile(int64_t rows, int64_t depth, const Left& a, Matrix b, Matrix c) {
  if constexpr (kRows > 0) {
    if (rows == kRows) return Tile<kRows, kVectors, kAccumulate>(depth, a, b, c);
    LastTile<kRows - 1, kVectors, kAccumulate>(rows, depth, a, b, c);
  }
}

template <int kVectors, bool kAccumulate>
inline void TileColumn(int64_t rows, int64_t depth, Left a, Matrix b, Matrix c) {
  for (; rows >= kTileRows; rows -= kTileRows) {
    Tile<kTileRows, kVectors, kAccumulate>(depth, a, b, c);
    a.values += kTileRows * a.row;
    c.data += kTileRows * c.stride;
  }
  LastTile<kTileRows - 1, kVectors, kAccumulate>(rows, depth, a, b, c);
}

// C [rows, columns] = A B, or += with kAccumulate. B [depth, columns] and C are row-major;
// `columns` is a multiple of kLane.
template <bool kAccumulate>
void SmallGemm(int64_t rows, int64_t columns, int64_t depth, const Left& a, Matrix b, Matrix c) {
  constexpr int64_t kWide = 2 * kFloats;
  for (; columns >= kWide; columns -= kWide) {
    TileColumn<2, kAccumulate>(rows, depth, a, b, c);
    b.data += kWide;
    c.data += kWide;
  }
  if (columns > 0) TileColumn<kLane / kFloats, kAccumulate>(rows, depth, a, b, c);
}

constexpr int64_t kSquare = 8;
using Square = float __attribute__((vector_size(4 * kSquare)));

// to = the transpose of from, both [8, 8].
inline void TransposeSquare(Matrix from, Matrix to) {
  Square r[kSquare], s[kSquare];
  for (int i = 0; i < kSquare; ++i) {
    __builtin_memcpy(&r[i], from.data + i * from.stride, sizeof(r[i]));
  }
  for (int i = 0; i < kSquare; i += 2) {  // pairs of rows
    s[i] = __builtin_shufflevector(r[i], r[i + 1], 0, 8, 2, 10, 4, 12, 6, 14);
    s[i + 1] = __builtin_shufflevector(r[i], r[i + 1], 1, 9, 3, 11, 5, 13, 7, 15);
  }
  for (int i = 0; i < kSquare; i += 4) {  // fours
    for (int j = 0; j < 2; ++j) {
      r[i + j] = __builtin_shufflevector(s[i + j], s[i + j + 2], 0, 1, 8, 9, 4, 5, 12, 13);
      r[i + j + 2] = __builtin_shufflevector(s[i + j], s[i + j + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    }
  }
  for (int i = 0; i < 4; ++i) {
    s[i] = __builtin_shufflevector(r[i], r[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    s[i + 4] = __builtin_shufflevector(r[i], r[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
  for (int i = 0; i < kSquare; ++i) {
    __builtin_memcpy(to.data + i * to.stride, &s[i], sizeof(s[i]));
  }
}

// to [columns, rows] = the transpose of from [rows, columns]; both are multiples of kSquare.
inline void Transpose(int64_t rows, int64_t columns, Matrix from, Matrix to) {
  for (int64_t i = 0; i < rows; i += kSquare) {
    for (int64_t j = 0; j < columns; j += kSquare) {
      TransposeSquare({from.data + i * from.stride + j, from.stride},
                      {to.data + j * to.stride + i, to.stride});
    }
  }
}

}  // namespace
}  // namespace mixrec::model::cpu
