// Private to model/: the streams of models that are computed side by side, one below the other. In
// a [T, .] tensor, T the rows of all, the rows of a model lie together, those of model 0 first;
// likewise the rows read, the special rows and the collaborative columns.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "model/stream.h"
#include "tensor/branches.h"

namespace mixrec::model {

class Streams {
 public:
  Streams() = default;
  // A stream for each branch; keeps the pointer.
  Streams(std::vector<Stream> streams, const tensor::Branches* branches);

  int64_t count() const { return static_cast<int64_t>(streams_.size()); }
  const Stream& of(int64_t model) const { return streams_[static_cast<size_t>(model)]; }
  const AttentionLayout& LayoutOf(int64_t model, bool trimmed) const {
    return trimmed ? of(model).read : of(model).all;
  }
  // work(model) for every model, side by side.
  void Each(const std::function<void(int64_t)>& work) const { branches_->Each(work); }

  int64_t rows() const { return rows_.back(); }                     // T
  const at::Tensor& read_rows() const { return read_rows_; }        // [R] of all
  const at::Tensor& special_rows() const { return special_rows_; }  // [S] of all
  int64_t queries(bool trimmed) const { return (trimmed ? reads_ : rows_).back(); }

  // A model's part of x [T, .]; with `trimmed`, of x [R, .].
  at::Tensor Part(int64_t model, bool trimmed, const at::Tensor& x) const {
    return PartOf(trimmed ? reads_ : rows_, model, x);
  }
  // Its part of x [experts * T, .] (or R), where every model has its experts one below the other:
  // [experts, its rows, .].
  at::Tensor Experts(int64_t model, bool trimmed, const at::Tensor& x) const;
  at::Tensor SpecialPart(int64_t model, const at::Tensor& x) const {  // of [S, .]
    return PartOf(specials_, model, x);
  }
  at::Tensor ColumnPart(int64_t model, const at::Tensor& x) const {  // of [C, .]
    return PartOf(columns_, model, x);
  }

 private:
  using Starts = std::vector<int64_t>;  // of every model; then the end of the last
  static at::Tensor PartOf(const Starts& starts, int64_t model, const at::Tensor& x);

  std::vector<Stream> streams_;
  const tensor::Branches* branches_ = nullptr;
  Starts rows_, reads_, specials_, columns_;
  at::Tensor read_rows_, special_rows_;
};

}  // namespace mixrec::model
