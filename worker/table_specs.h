// The tables of a model as the parameter server knows them (ps.md): the same specifications
// wherever the rows live.
#pragma once

#include <cstdint>
#include <vector>

#include "model/options.h"
#include "model/parameters.h"
#include "ps/protocol.h"
#include "tensor/optimizer.h"

namespace mixrec::worker {

inline constexpr char kProjectionTable[] = "item_proj";
inline constexpr char kUserTable[] = "cf.user";
inline constexpr char kItemTable[] = "cf.item";

struct TableShapes {
  int64_t users = 0, items = 0;
  int64_t hidden = 0;  // width of a state
};

// The item projection: weight and bias, stepped as a whole; with a sampled softmax row by row.
ps::TableSpec ProjectionSpec(const TableShapes& shapes, const tensor::AdamWOptions& optimizer,
                             bool sampled);
// The CF embeddings of one side (kUserTable or kItemTable): the parts gmf and mlp for NCF, one for
// MF; stepped row by row (model.md D33).
ps::TableSpec CfTableSpec(const model::ModelOptions& options, const char* name, int64_t rows,
                          const tensor::AdamWOptions& optimizer);
// All tables of a model.
std::vector<ps::TableSpec> TableSpecs(const model::ModelOptions& options, const TableShapes& shapes,
                                      const tensor::AdamWOptions& optimizer, bool sampled);

// A model's dense trainable tensors apart: those that every worker holds, and the item
// projection's.
struct SplitSpecs {
  std::vector<model::ParameterSpec> dense, projection;
};
SplitSpecs SplitTrainable(const std::vector<model::ParameterSpec>& specs);

}  // namespace mixrec::worker
