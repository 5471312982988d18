// Tables of trainable rows: the collaborative filtering embeddings of users and items. Workers see
// them through one narrow door, ParameterTable, so that the rows can live elsewhere: this file's
// RowTable keeps them in the process, a parameter server's client may take its place.
//
// R rows asked for, E row width.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>
#include <vector>

#include "model/options.h"
#include "model/safetensors.h"
#include "tensor/optimizer.h"

namespace mixrec::worker {

// One thread at a time.
class ParameterTable {
 public:
  virtual ~ParameterTable() = default;
  // Rows `ids` (each below the number of rows): [R, E] fp32, a copy.
  virtual at::Tensor Pull(const std::vector<int32_t>& ids) const = 0;
  // One row-lazy AdamW step (model.md D33) on rows `ids`, which must be distinct; gradients [R, E].
  virtual void Push(const std::vector<int32_t>& ids, const at::Tensor& gradients,
                    double learning_rate) = 0;
};

// Some columns of a table under the name they have in checkpoints, e.g. {"cf.user_gmf.weight", 64}.
struct TablePart {
  std::string name;
  int64_t width = 0;
};

// The embedded table: values, moments and update counts of every row, on one device.
class RowTable : public ParameterTable {
 public:
  // `name` is that of its update counts in checkpoints. Values and optimiser state are zero.
  RowTable(std::string name, std::vector<TablePart> parts, int64_t rows, at::Device device,
           const tensor::AdamWOptions& optimizer);

  // N(0, stddev^2), keyed by (seed, name of the part, row) (model.md D34).
  void Initialise(uint64_t seed, double stddev);

  at::Tensor Pull(const std::vector<int32_t>& ids) const override;
  void Push(const std::vector<int32_t>& ids, const at::Tensor& gradients,
            double learning_rate) override;

  int64_t rows() const { return values_.size(0); }
  int64_t width() const { return values_.size(1); }
  // The parts as views of the values, [rows, width of the part] fp32.
  model::NamedTensors Values() const;
  // first_moment.PART, second_moment.PART and update_count.NAME [rows] int32, as views.
  model::NamedTensors OptimizerState() const;

 private:
  void AppendParts(const std::string& prefix, const at::Tensor& whole,
                   model::NamedTensors* tensors) const;

  std::string name_;
  std::vector<TablePart> parts_;
  tensor::AdamWOptions optimizer_;
  at::Tensor values_, first_moment_, second_moment_;  // [rows, E] fp32
  at::Tensor counts_;                                 // [rows] int32
};

// The parts of the user or item table of a CF model: gmf and mlp for NCF, one for MF. `side` is
// "user" or "item".
std::vector<TablePart> CfTableParts(const model::ModelOptions& options, const std::string& side);

}  // namespace mixrec::worker
