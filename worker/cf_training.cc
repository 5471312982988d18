#include "worker/cf_training.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <unordered_map>

#include "absl/strings/str_format.h"
#include "common/file.h"
#include "common/progress.h"
#include "common/stop_signal.h"
#include "data/batcher.h"
#include "model/safetensors.h"
#include "tensor/optimizer.h"
#include "worker/dense_optimizer.h"
#include "worker/table_specs.h"
#include "worker/tables.h"
#include "worker/torch_wall.h"

namespace mixrec::worker {
namespace {

using Metadata = std::map<std::string, std::string>;

constexpr char kFormat[] = "mixrec-cf-1";

std::string HashOfIds(const data::Dataset& dataset) {
  std::string ids;
  for (int32_t user = 0; user < dataset.users(); ++user) ids += dataset.user_id(user) + "\n";
  ids += "\n";
  for (int32_t item = 0; item < dataset.items(); ++item) ids += dataset.item_id(item) + "\n";
  return ContentHash(ids);
}

// The flags that give the rows their shape; a frozen model must have the same.
Metadata ShapeFlags(const model::ModelOptions& options) {
  if (options.cf == model::CfKind::kMf) {
    return {{"cf_model", "mf"}, {"cf_mf", StrCat(options.mf_width)}};
  }
  return {
      {"cf_model", "ncf"}, {"cf_gmf", StrCat(options.cf_gmf)}, {"cf_mlp", StrCat(options.cf_mlp)}};
}

std::string FlagText(const Metadata& flags) {
  std::string text;
  for (const auto& [name, value] : flags) {
    text += StrCat(text.empty() ? "--" : " --", name, "=", value);
  }
  return text;
}

// Numbers ids in the order in which they are first asked for.
int32_t IndexIn(std::vector<int32_t>* ids, std::unordered_map<int32_t, int32_t>* index,
                int32_t id) {
  const auto [found, is_new] = index->try_emplace(id, static_cast<int32_t>(ids->size()));
  if (is_new) ids->push_back(id);
  return found->second;
}

// A step of BPR pairs and nothing else.
data::PackedBatch PairBatch(const data::StepSamples& step) {
  data::PackedBatch batch;
  std::unordered_map<int32_t, int32_t> users, items;
  for (const data::UserSamples& user : step.users) {
    for (size_t k = 0; k < user.bpr_positives.size(); ++k) {
      batch.bpr_user.push_back(IndexIn(&batch.user_ids, &users, user.user));
      batch.bpr_positive.push_back(IndexIn(&batch.item_ids, &items, user.bpr_positives[k]));
      batch.bpr_negative.push_back(IndexIn(&batch.item_ids, &items, user.bpr_negatives[k]));
    }
  }
  batch.bpr_weights.assign(batch.bpr_user.size(), 1.0F / static_cast<float>(step.pairs));
  return batch;
}

class CfTraining {
 public:
  CfTraining(const data::Dataset& dataset, const CfTrainingOptions& options)
      : dataset_(dataset),
        options_(options),
        hard_samples_(dataset),
        trainable_(data::TrainableUsers(dataset)),
        parameters_(model::CfSpecs(options.model), options.device, at::kFloat),
        cf_(options.model, &parameters_),
        dense_(AdamW(), &parameters_),
        users_(CfTableSpec(options.model, kUserTable, dataset.users(), AdamW()), options.device),
        items_(CfTableSpec(options.model, kItemTable, dataset.items(), AdamW()), options.device) {}

  absl::StatusOr<CfTrainingResult> Run(const std::string& folder) {
    parameters_.Initialise(options_.seed);
    MIXREC_RETURN_IF_ERROR(users_.Initialise(options_.seed));
    MIXREC_RETURN_IF_ERROR(items_.Initialise(options_.seed));
    const auto users = static_cast<int64_t>(trainable_.size());
    total_steps_ = options_.epochs * ((users + options_.batch - 1) / options_.batch);
    if (options_.progress) {
      ProgressOptions shown;
      shown.name = "cf";
      shown.total = total_steps_;
      shown.silent_when_short = true;
      progress_.emplace(shown);
    }
    for (int64_t epoch = 0; epoch < options_.epochs; ++epoch) {
      MIXREC_RETURN_IF_ERROR(Epoch(epoch));
    }
    progress_.reset();
    MIXREC_RETURN_IF_ERROR(Write(folder));
    return result_;
  }

 private:
  tensor::AdamWOptions AdamW() const {
    tensor::AdamWOptions options;
    options.weight_decay = options_.weight_decay;
    return options;
  }

  data::PackedBatch Batch(int64_t epoch, absl::Span<const int32_t> users) const {
    data::BatchOptions options;
    options.seed = options_.seed;
    options.use_alignment = options.use_contrast = false;
    return PairBatch(data::SampleStep(dataset_, hard_samples_, options, epoch, users));
  }

  absl::Status Epoch(int64_t epoch) {
    const std::vector<int32_t> order = data::EpochOrder(options_.seed, epoch, trainable_);
    const auto size = static_cast<size_t>(options_.batch);
    double sum = 0;
    int64_t pairs = 0;
    for (size_t first = 0; first < order.size(); first += size) {
      if (StopRequested()) return StoppedError("stopped on request; nothing was written");
      const data::PackedBatch batch = Batch(epoch, absl::MakeConstSpan(order).subspan(first, size));
      const auto count = static_cast<int64_t>(batch.bpr_user.size());
      if (count == 0) continue;
      MIXREC_ASSIGN_OR_RETURN(const double loss, Step(batch));
      sum += loss * static_cast<double>(count);
      pairs += count;
      if (progress_ && progress_->IsDue(result_.steps)) {
        progress_->Update(result_.steps, absl::StrFormat("epoch %d, BPR %.4f", epoch + 1, loss));
      }
    }
    if (pairs == 0) return DataError("every user has all items: there are no pairs to train on");
    result_.losses.push_back(sum / static_cast<double>(pairs));
    return absl::OkStatus();
  }

  absl::StatusOr<double> Step(const data::PackedBatch& batch) {
    const int64_t step = result_.steps;
    const double rate = tensor::CosineLearningRate(options_.learning_rate, step, total_steps_,
                                                   options_.warmup_fraction);
    model::CfRows rows;
    MIXREC_ASSIGN_OR_RETURN(rows.user, users_.Pull(step, batch.user_ids));
    MIXREC_ASSIGN_OR_RETURN(rows.item, items_.Pull(step, batch.item_ids));
    model::CfRows gradients{at::zeros_like(rows.user), at::zeros_like(rows.item)};
    parameters_.ZeroGradient();
    const double loss = cf_.BprLoss(batch, rows, /*weight=*/1, &gradients);
    if (!std::isfinite(loss)) {
      return FailureError("the BPR loss is not finite at step ", step, "; try a smaller --lr");
    }
    MIXREC_RETURN_IF_ERROR(users_.Push(step, batch.user_ids, gradients.user, rate));
    MIXREC_RETURN_IF_ERROR(items_.Push(step, batch.item_ids, gradients.item, rate));
    if (parameters_.size() > 0) dense_.Step(step, rate);
    ++result_.steps;
    return loss;
  }

  absl::Status Write(const std::string& folder) {
    model::NamedTensors tensors;
    for (const model::ParameterSpec& spec : parameters_.specs()) {
      tensors.emplace_back(spec.name, parameters_.value(spec.name));
    }
    for (const RowTable* table : {&users_, &items_}) {
      for (const auto& named : table->Values()) tensors.push_back(named);
    }
    Metadata metadata = ShapeFlags(options_.model);
    metadata["format"] = kFormat;
    metadata["ids_hash"] = HashOfIds(dataset_);
    result_.path = CfFile(folder);
    MIXREC_RETURN_IF_ERROR(MakeFolder(folder));
    return model::WriteSafetensorsAs(result_.path, tensors, metadata, at::kFloat);
  }

  const data::Dataset& dataset_;
  const CfTrainingOptions options_;
  const data::UniformNonCooccurring hard_samples_;  // drawn from by nobody: no contrast here
  const std::vector<int32_t> trainable_;
  model::DenseParameters parameters_;
  model::CfModel cf_;
  DenseOptimizer dense_;
  RowTable users_, items_;
  std::optional<Progress> progress_;
  int64_t total_steps_ = 0;
  CfTrainingResult result_;
};

}  // namespace

std::string CfFile(const std::string& folder) { return folder + "/cf.safetensors"; }

absl::StatusOr<CfTrainingResult> TrainCf(const data::Dataset& dataset,
                                         const CfTrainingOptions& options,
                                         const std::string& folder) {
  if (options.epochs < 0 || options.batch < 1 || !(options.learning_rate > 0)) {
    return UsageError("--epochs is at least 0, --batch at least 1 and --lr above 0");
  }
  if (data::TrainableUsers(dataset).empty()) {
    return DataError("no user has two training items: there is nothing to train on");
  }
  return BehindTorchWall("training the CF model",
                         [&] { return CfTraining(dataset, options).Run(folder); });
}

absl::Status LoadCfRows(const std::string& folder, const data::Dataset& dataset,
                        ModelState* state) {
  const std::string path = CfFile(folder);
  MIXREC_ASSIGN_OR_RETURN(model::SafetensorsFile file, model::SafetensorsFile::Open(path));
  Metadata found = file.metadata();
  if (found["format"] != kFormat) {
    return DataError(path, ": not a file of `mixrec train-cf` (format `", found["format"], "`)");
  }
  if (found["ids_hash"] != HashOfIds(dataset)) {
    return DataError(path, ": trained on other users or items than --data and its filter have; ",
                     "train the CF model on this data set");
  }
  const Metadata wanted = ShapeFlags(state->options());
  Metadata given;
  for (const char* name : {"cf_model", "cf_gmf", "cf_mlp", "cf_mf"}) {
    if (found.count(name) > 0) given[name] = found[name];
  }
  if (given != wanted) {
    return UsageError(path, " has ", FlagText(given), ", this model ", FlagText(wanted),
                      "; give the same flags to both");
  }
  std::map<std::string, at::Tensor> views;
  for (const auto& [name, view] : state->Trainable()) views[name] = view;
  for (const ps::TableSpec& spec : state->table_specs()) {
    if (spec.name == kProjectionTable) continue;
    for (const ps::PartSpec& part : spec.parts) {
      MIXREC_ASSIGN_OR_RETURN(const at::Tensor values, file.Get(part.name));
      if (values.sizes() != views.at(part.name).sizes()) {
        return DataError(path, ": tensor ", part.name, " has another shape than the model's table");
      }
      views.at(part.name).copy_(values);
    }
  }
  return absl::OkStatus();
}

}  // namespace mixrec::worker
