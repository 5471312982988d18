#include "worker/train_options.h"

#include <cmath>

#include "common/file.h"

namespace mixrec::worker {
namespace {

using Json = nlohmann::ordered_json;

absl::Status CheckRange(double value, double least, double most, const char* flag) {
  if (value >= least && value <= most) return absl::OkStatus();  // false for NaN
  return UsageError("--", flag, "=", value, " must be between ", least, " and ", most);
}

std::string HashOf(const std::vector<int32_t>& users) {
  if (users.empty()) return "all";
  return ContentHash(
      {reinterpret_cast<const char*>(users.data()), users.size() * sizeof(users.front())});
}

}  // namespace

absl::StatusOr<ItemInit> ParseItemInit(const std::string& text) {
  if (text == "random") return ItemInit::kRandom;
  if (text == "states") return ItemInit::kStates;
  return UsageError("--item_init=", text, " is not one of random, states");
}

absl::Status CheckTrainOptions(const TrainOptions& options) {
  constexpr double kMany = 1e9;
  MIXREC_RETURN_IF_ERROR(CheckRange(static_cast<double>(options.epochs), 0, kMany, "epochs"));
  MIXREC_RETURN_IF_ERROR(CheckRange(static_cast<double>(options.batch), 1, kMany, "batch"));
  MIXREC_RETURN_IF_ERROR(CheckRange(options.learning_rate, 0, 1e3, "lr"));
  MIXREC_RETURN_IF_ERROR(CheckRange(options.warmup_fraction, 0, 1, "warmup_fraction"));
  MIXREC_RETURN_IF_ERROR(CheckRange(options.weight_decay, 0, 1e3, "weight_decay"));
  MIXREC_RETURN_IF_ERROR(CheckRange(options.clip_norm, 0, kMany, "clip_norm"));
  MIXREC_RETURN_IF_ERROR(CheckRange(options.queries_per_user, 1, kMany, "n_s"));
  MIXREC_RETURN_IF_ERROR(CheckRange(options.negatives, 1, kMany, "n_cl"));
  MIXREC_RETURN_IF_ERROR(CheckRange(options.max_items, 1, kMany, "max_items"));
  return CheckRange(options.keep_last, 1, kMany, "keep_last");
}

Json DecidingOptions(const TrainOptions& options, const ModelCard& card,
                     const ps::Sampling& sampling) {
  Json json = ToJson(card.options);
  json["epochs"] = options.epochs;
  json["batch"] = options.batch;
  json["lr"] = options.learning_rate;
  json["warmup_fraction"] = options.warmup_fraction;
  json["weight_decay"] = options.weight_decay;
  json["clip_norm"] = options.clip_norm;
  json["seed"] = options.seed;
  json["n_s"] = options.queries_per_user;
  json["n_cl"] = options.negatives;
  json["max_items"] = options.max_items;
  json["item_init"] = options.item_init == ItemInit::kStates ? "states" : "random";
  json["sampled_softmax"] = sampling.count;
  json["sampled_proposal"] = sampling.log_uniform ? "log_uniform" : "uniform";
  json["train_users"] = HashOf(options.train_users);
  json["validation_users"] = HashOf(options.validation_users);
  json["validation_mask_seen"] = options.validation_mask_seen;
  json["items"] = card.items;
  json["users"] = card.users;
  json["item_ids_hash"] = card.item_ids_hash;
  json["data_hash"] = card.data_hash;
  json["backbone_hash"] = card.backbone_hash;
  return json;
}

absl::Status CompareOptions(const Json& now, const Json& then, const std::string& checkpoint) {
  // What checkpoints of before these options had.
  const Json earlier{{"sampled_softmax", 0},
                     {"sampled_proposal", "uniform"},
                     {"cf_training", "joint"},
                     {"parallel_form", "literal"},
                     {"parallel_scale", 1.0}};
  std::string differences;
  for (const auto& [name, value] : now.items()) {
    Json before = then.contains(name) ? then[name] : Json();
    if (before.is_null() && earlier.contains(name)) before = earlier[name];
    if (before == value) continue;
    if (!differences.empty()) differences += ", ";
    differences += StrCat(name, " (was ", before.dump(), ", now ", value.dump(), ")");
  }
  if (differences.empty()) return absl::OkStatus();
  return UsageError("checkpoint ", checkpoint,
                    " belongs to a run with other options: ", differences,
                    "; train into another folder, or name them in --resume_allow");
}

}  // namespace mixrec::worker
