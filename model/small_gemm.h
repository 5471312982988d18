// Products of matrices that fit in cache, one thread: the building block of the CPU attention.
#pragma once

#include <cstdint>
#include <cstring>

namespace mixrec::model::cpu {

inline constexpr int64_t kLane = 16;  // columns are padded to a multiple of this
inline int64_t Padded(int64_t columns) { return (columns + kLane - 1) / kLane * kLane; }

namespace internal {

using Vector = float __attribute__((vector_size(32)));

inline Vector Load(const float* from) {
  Vector value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}
inline void Store(float* to, const Vector& value) { std::memcpy(to, &value, sizeof(value)); }

// kRows x 16 of C. A(i, k) stands at a[i * a_row + k * a_column].
template <int kRows, bool kAccumulate>
inline void Tile(int64_t depth, const float* a, int64_t a_row, int64_t a_column, const float* b,
                 int64_t b_stride, float* c, int64_t c_stride) {
  Vector sum[kRows][2];
  for (int i = 0; i < kRows; ++i) {
    sum[i][0] = kAccumulate ? Load(c + i * c_stride) : Vector{};
    sum[i][1] = kAccumulate ? Load(c + i * c_stride + 8) : Vector{};
  }
  for (int64_t k = 0; k < depth; ++k) {
    const Vector b0 = Load(b + k * b_stride);
    const Vector b1 = Load(b + k * b_stride + 8);
    for (int i = 0; i < kRows; ++i) {
      const float value = a[i * a_row + k * a_column];
      sum[i][0] += value * b0;
      sum[i][1] += value * b1;
    }
  }
  for (int i = 0; i < kRows; ++i) {
    Store(c + i * c_stride, sum[i][0]);
    Store(c + i * c_stride + 8, sum[i][1]);
  }
}

}  // namespace internal

// C [rows, columns] = A B, or += with kAccumulate. B [depth, columns] and C are row-major;
// `columns` is a multiple of kLane. A(i, k) stands at a[i * a_row + k * a_column], so A may be
// transposed.
template <bool kAccumulate>
void SmallGemm(int64_t rows, int64_t columns, int64_t depth, const float* a, int64_t a_row,
               int64_t a_column, const float* b, int64_t b_stride, float* c, int64_t c_stride) {
  using internal::Tile;
  for (int64_t j = 0; j < columns; j += kLane) {
    int64_t i = 0;
    for (; i + 6 <= rows; i += 6) {
      Tile<6, kAccumulate>(depth, a + i * a_row, a_row, a_column, b + j, b_stride,
                           c + i * c_stride + j, c_stride);
    }
    const float* a_rest = a + i * a_row;
    float* c_rest = c + i * c_stride + j;
    switch (rows - i) {
      case 5:
        Tile<5, kAccumulate>(depth, a_rest, a_row, a_column, b + j, b_stride, c_rest, c_stride);
        break;
      case 4:
        Tile<4, kAccumulate>(depth, a_rest, a_row, a_column, b + j, b_stride, c_rest, c_stride);
        break;
      case 3:
        Tile<3, kAccumulate>(depth, a_rest, a_row, a_column, b + j, b_stride, c_rest, c_stride);
        break;
      case 2:
        Tile<2, kAccumulate>(depth, a_rest, a_row, a_column, b + j, b_stride, c_rest, c_stride);
        break;
      case 1:
        Tile<1, kAccumulate>(depth, a_rest, a_row, a_column, b + j, b_stride, c_rest, c_stride);
        break;
      default:
        break;
    }
  }
}

}  // namespace mixrec::model::cpu
