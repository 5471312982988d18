// What a checkpoint says about its model, so that it can be served: options, sizes and the hashes
// of what it was trained on. model.json of a checkpoint (docs/checkpoints.md).
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "common/status.h"
#include "data/dataset.h"
#include "model/backbone.h"
#include "model/options.h"

namespace mixrec::worker {

inline constexpr int kCheckpointFormatVersion = 1;

struct ModelCard {
  model::ModelOptions options;  // validated
  int64_t users = 0, items = 0;
  int64_t hidden = 0, layers = 0;  // of the backbone
  int max_items = 50;              // of a sequence, the last ones
  std::string data_hash;           // Dataset::content_hash
  std::string item_ids_hash;       // of the item ids in their order, after the filter
  std::string backbone_hash;
};

ModelCard MakeModelCard(const model::ModelOptions& options, const model::Backbone& backbone,
                        const data::Dataset& dataset, int max_items);

nlohmann::ordered_json ToJson(const ModelCard& card);
// DataError naming `where` and the field.
absl::StatusOr<ModelCard> ParseModelCard(const std::string& text, const std::string& where);

nlohmann::ordered_json ToJson(const model::ModelOptions& options);

}  // namespace mixrec::worker
