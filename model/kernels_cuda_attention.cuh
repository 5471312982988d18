// What both directions of attention on the GPU share: which keys a query sees, and products of a
// warp with rows. Private to kernels_cuda_attention*.cu.
//
// A warp works on one row and one head. The 32 lanes take 32 rows of the other side each, dot them
// with the warp's row (in shared memory, fp32), then all lanes together add the weighted rows up,
// each lane its share of the head's columns.
#pragma once

#include <cmath>

#include "model/kernels_cuda_device.cuh"

namespace mixrec::model::cuda {

constexpr int kAttentionWarps = 4;
enum AttentionKind : int { kCausal = 0, kContext = 1 };
constexpr int kDocumentFields = 5;
constexpr int kGroupFields = 6;

// How a head is cut: room for kRoom columns; kPacked: the head size is a multiple of eight and
// every row can be read in 16-byte accesses.
template <int kRoomColumns, bool kPackedRows>
struct HeadShape {
  static constexpr int kRoom = kRoomColumns;
  static constexpr bool kPacked = kPackedRows;
  static constexpr int kShare = kRoomColumns / kWarp;  // columns of a lane
  __device__ static __forceinline__ int Column(int lane, int i) {
    return kPacked ? lane * kShare + i : i * kWarp + lane;
  }
};

template <typename T>
struct AttentionArguments {
  Matrix<T> q, k, v, column_k, column_v;
  const int32_t *query_rows, *documents, *groups, *query_document, *query_group;
  int queries, rows, columns, document_count, group_count;
  int heads, width;  // width of a head
  int prompt_rows;
  float scale;
};

// Keys of a query in order: `shared` prompt rows or columns, then own rows from `begin` on.
struct SeenKeys {
  int shared = 0, begin = 0, count = 0;
  bool prompt = false;
  int first_column = -1, second_column = -1;

  template <typename T>
  __device__ __forceinline__ const T* row(int key, const Matrix<T>& own,
                                          const Matrix<T>& column) const {
    if (key >= shared) return own.row(begin + key - shared);
    return prompt ? own.row(key) : column.row(key == 0 ? first_column : second_column);
  }
};

template <typename T>
__device__ __forceinline__ SeenKeys KeysOf(const AttentionArguments<T>& a, int kind, int query) {
  SeenKeys keys;
  if (kind == kCausal) {
    const int32_t* document = a.documents + kDocumentFields * a.query_document[query];
    keys.prompt = document[4] != 0;
    keys.shared = keys.prompt ? a.prompt_rows : 0;
    keys.begin = document[2];
    keys.count = keys.shared + a.query_rows[query] - keys.begin + 1;
    return keys;
  }
  const int32_t* group = a.groups + kGroupFields * a.query_group[query];
  const int first = a.columns > 0 ? group[4] : -1, second = a.columns > 0 ? group[5] : -1;
  keys.shared = (first >= 0) + (second >= 0);
  keys.first_column = first >= 0 ? first : second;
  keys.second_column = second;
  keys.begin = group[2];
  keys.count = keys.shared + group[3] - keys.begin;
  return keys;
}

// vector[0, kRoom) = factor * row, zeros past the head's width. One warp.
template <typename Shape, typename T>
__device__ __forceinline__ void StageRow(const T* row, float factor, int width, int lane,
                                         float* vector) {
#pragma unroll
  for (int i = 0; i < Shape::kShare; ++i) {
    const int c = i * kWarp + lane;
    vector[c] = c < width ? factor * ToFloat(row[c]) : 0.0f;
  }
}

// One lane: the product of a staged vector and a row.
template <typename Shape, typename T>
__device__ __forceinline__ float Dot(const float* vector, const T* row, int width) {
  float even = 0.0f, odd = 0.0f;
  if constexpr (Shape::kPacked) {
    for (int block = 0; block < width; block += kWarp) {
      Pack<T, 8> packs[kWarp / 8];  // loaded together, so that the loads overlap
#pragma unroll
      for (int i = 0; i < kWarp / 8; ++i) {
        const int c = min(block + 8 * i, width - 8);  // past the width `vector` holds zeros
        packs[i] = *reinterpret_cast<const Pack<T, 8>*>(row + c);
      }
#pragma unroll
      for (int i = 0; i < kWarp / 8; ++i) {
        float part[8];
        Load(vector + block + 8 * i, part);
#pragma unroll
        for (int j = 0; j < 8; j += 2) {
          even += part[j] * ToFloat(packs[i].values[j]);
          odd += part[j + 1] * ToFloat(packs[i].values[j + 1]);
        }
      }
    }
  } else {
    for (int c = 0; c < width; ++c) even += vector[c] * ToFloat(row[c]);
  }
  return even + odd;
}

// One warp: sum += weight * row, each lane its own columns.
template <typename Shape, typename T>
__device__ __forceinline__ void AddRow(float weight, const T* row, int width, int lane,
                                       float (&sum)[Shape::kShare]) {
  if constexpr (Shape::kPacked) {
    if (lane * Shape::kShare >= width) return;
    float value[Shape::kShare];
    Load(row + lane * Shape::kShare, value);
#pragma unroll
    for (int i = 0; i < Shape::kShare; ++i) sum[i] += weight * value[i];
  } else {
#pragma unroll
    for (int i = 0; i < Shape::kShare; ++i) {
      const int c = Shape::Column(lane, i);
      if (c < width) sum[i] += weight * ToFloat(row[c]);
    }
  }
}

// One warp: row = factor * sum.
template <typename Shape, typename T>
__device__ __forceinline__ void StoreRow(const float (&sum)[Shape::kShare], float factor, int width,
                                         int lane, T* row) {
#pragma unroll
  for (int i = 0; i < Shape::kShare; ++i) {
    const int c = Shape::Column(lane, i);
    if (c < width) row[c] = FromFloat<T>(factor * sum[i]);
  }
}

// Both attentions of a [kinds, R, ...] tensor.
template <typename T>
struct KindRows {
  T* data = nullptr;
  int64_t kind_stride = 0, stride = 0;
  __device__ __forceinline__ T* row(int kind, int64_t query) const {
    return data + kind * kind_stride + query * stride;
  }
};

template <typename T>
KindRows<T> KindRowsOf(const at::Tensor& tensor) {
  CHECK(tensor.dim() == 3 && (tensor.size(2) <= 1 || tensor.stride(2) == 1))
      << "attention results must be [kinds, R, columns] with unit column stride";
  return {Data<T>(tensor), tensor.stride(0), tensor.stride(1)};
}

inline const int32_t* Indices(const at::Tensor& tensor) {
  if (!tensor.defined() || tensor.numel() == 0) return nullptr;
  CHECK(tensor.is_contiguous() && tensor.is_cuda());
  return tensor.data_ptr<int32_t>();
}

template <typename T>
AttentionArguments<T> ArgumentsOf(const AttentionInputs& inputs, const AttentionLayout& layout) {
  AttentionArguments<T> a;
  a.q = MatrixOf<T>(inputs.q);
  a.k = MatrixOf<T>(inputs.k);
  a.v = MatrixOf<T>(inputs.v);
  a.column_k = MatrixOf<T>(inputs.column_k);
  a.column_v = MatrixOf<T>(inputs.column_v);
  a.query_rows = Indices(layout.query_rows);
  a.documents = Indices(layout.causal);
  a.query_document = Indices(layout.query_document);
  a.groups = inputs.context ? Indices(layout.context) : nullptr;
  a.query_group = inputs.context ? Indices(layout.query_group) : nullptr;
  a.queries = static_cast<int>(inputs.q.size(0));
  a.rows = static_cast<int>(inputs.k.size(0));
  a.columns = inputs.column_k.defined() ? static_cast<int>(inputs.column_k.size(0)) : 0;
  a.document_count = static_cast<int>(layout.causal.size(0));
  a.group_count = inputs.context ? static_cast<int>(layout.context.size(0)) : 0;
  a.heads = static_cast<int>(inputs.heads);
  a.width = static_cast<int>(inputs.q.size(1) / inputs.heads);
  a.prompt_rows = layout.prompt_rows;
  a.scale = 1.0f / std::sqrt(static_cast<float>(a.width));
  return a;
}

// Segment of every key row [rows], from the segments' key ranges; -1: none.
at::Tensor KeySegments(const at::Tensor& segments, int64_t rows);

constexpr int kWidestHead = 256;

// visit(T{}, HeadShape{}) for the inputs' element type and the smallest shape that holds a head.
template <typename Visit, typename... Tensors>
void WithAttentionShape(const AttentionInputs& inputs, Visit visit, const Tensors&... others) {
  const int64_t width = inputs.q.size(1) / inputs.heads;
  CHECK_LE(width, kWidestHead) << "attention on the GPU takes heads of at most 256 columns";
  const bool packs =
      AllowPacks(width, inputs.q, inputs.k, inputs.v, inputs.column_k, inputs.column_v, others...);
  WithElement(inputs.q, [&](auto element) {
    if (packs && width <= 32) return visit(element, HeadShape<32, true>{});
    if (packs && width <= 64) return visit(element, HeadShape<64, true>{});
    if (packs && width <= 128) return visit(element, HeadShape<128, true>{});
    return visit(element, HeadShape<kWidestHead, false>{});
  });
}

}  // namespace mixrec::model::cuda
