#include "worker/table_specs.h"

#include <string>

namespace mixrec::worker {
namespace {

constexpr double kRowStddev = 0.02;  // model.md D29

ps::OptimizerOptions OptimizerOf(const tensor::AdamWOptions& options) {
  ps::OptimizerOptions optimizer;
  optimizer.kind = ps::Optimizer::kAdamW;
  optimizer.beta1 = options.beta1;
  optimizer.beta2 = options.beta2;
  optimizer.epsilon = options.epsilon;
  optimizer.weight_decay = options.weight_decay;
  return optimizer;
}

}  // namespace

ps::TableSpec ProjectionSpec(const TableShapes& shapes, const tensor::AdamWOptions& optimizer,
                             bool sampled) {
  ps::TableSpec spec;
  spec.name = kProjectionTable;
  spec.rows = shapes.items;
  spec.parts = {{"item_proj.weight", shapes.hidden, kRowStddev}, {"item_proj.bias", 1, 0}};
  spec.partition = ps::Partition::kRanges;
  spec.dense = !sampled;
  spec.optimizer = OptimizerOf(optimizer);
  return spec;
}

ps::TableSpec CfTableSpec(const model::ModelOptions& options, const char* name, int64_t rows,
                          const tensor::AdamWOptions& optimizer) {
  const std::string side = name;
  ps::TableSpec spec;
  spec.name = name;
  spec.rows = rows;
  if (options.cf == model::CfKind::kMf) {
    spec.parts = {{side + ".weight", options.mf_width, kRowStddev}};
  } else {
    spec.parts = {{side + "_gmf.weight", options.cf_gmf, kRowStddev},
                  {side + "_mlp.weight", options.cf_mlp, kRowStddev}};
  }
  spec.partition = ps::Partition::kHashed;
  spec.optimizer = OptimizerOf(optimizer);
  return spec;
}

std::vector<ps::TableSpec> TableSpecs(const model::ModelOptions& options, const TableShapes& shapes,
                                      const tensor::AdamWOptions& optimizer, bool sampled) {
  std::vector<ps::TableSpec> specs{ProjectionSpec(shapes, optimizer, sampled)};
  if (!options.has_cf()) return specs;
  specs.push_back(CfTableSpec(options, kUserTable, shapes.users, optimizer));
  specs.push_back(CfTableSpec(options, kItemTable, shapes.items, optimizer));
  return specs;
}

SplitSpecs SplitTrainable(const std::vector<model::ParameterSpec>& specs) {
  SplitSpecs split;
  for (const model::ParameterSpec& spec : specs) {
    const bool projection = spec.name.rfind(std::string(kProjectionTable) + ".", 0) == 0;
    (projection ? split.projection : split.dense).push_back(spec);
  }
  return split;
}

}  // namespace mixrec::worker
