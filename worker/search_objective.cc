#include "worker/search_objective.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "common/file.h"
#include "common/random.h"
#include "worker/checkpoint.h"
#include "worker/run_ranks.h"

namespace mixrec::worker {
namespace {

using Json = nlohmann::ordered_json;

// What a trial's folder says of itself: trial.json.
struct TrialRecord {
  std::string bits;
  std::string variant;  // VariantOf
  bool finished = false;
  std::vector<double> validation_mrr;  // by epoch, once finished
};

// Of a trial's file, or nothing.
TrialRecord ParseRecord(const std::string& text) {
  TrialRecord record;
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  try {
    record.validation_mrr = json.at("validation_mrr").get<std::vector<double>>();
    record.finished = json.at("finished");
    record.bits = json.at("architecture");
    record.variant = json.value("variant", "");
  } catch (const nlohmann::json::exception&) {
    return {};  // not a record: the trial starts afresh
  }
  return record;
}

std::string ToText(const TrialRecord& record) {
  const Json json{{"architecture", record.bits},
                  {"variant", record.variant},
                  {"finished", record.finished},
                  {"validation_mrr", record.validation_mrr}};
  return json.dump() + "\n";
}

// What is trained besides the bits.
std::string VariantOf(const TrialSpec& trial) {
  std::string text;
  if (trial.replace_every > 0) text += StrCat("replace_every=", trial.replace_every, " ");
  if (trial.bottleneck > 0) text += StrCat("bottleneck=", trial.bottleneck, " ");
  if (trial.replicate > 0) text += StrCat("replicate=", trial.replicate, " ");
  return text;
}

// What another trial's training left in the folder.
void RemoveTraining(const std::string& folder) {
  std::error_code ignored;
  for (const std::string& path : {CheckpointsFolder(folder), folder + "/metrics.jsonl"}) {
    std::filesystem::remove_all(path, ignored);
  }
}

// The record of the trial in its folder, which becomes this trial's if it was another's. Rank 0's
// for all.
absl::StatusOr<TrialRecord> OpenTrial(const TrialSpec& trial, const std::string& folder,
                                      const RunRanks& ranks) {
  const std::string path = folder + "/trial.json";
  std::string text;
  MIXREC_RETURN_IF_ERROR(ranks.OnLeader("the start of a trial", [&] {
    const auto known = ReadFile(path);
    if (known.ok()) text = *known;
    const TrialRecord record = ParseRecord(text);
    if (record.bits == trial.bits && record.variant == VariantOf(trial)) return absl::OkStatus();
    RemoveTraining(folder);
    MIXREC_RETURN_IF_ERROR(MakeFolder(folder));
    text = ToText({trial.bits, VariantOf(trial), false, {}});
    return WriteFileAtomic(path, text);
  }));
  MIXREC_RETURN_IF_ERROR(ranks.Share("a trial's record", &text));
  return ParseRecord(text);
}

double Best(const std::vector<double>& values) {
  return values.empty() ? 0 : *std::max_element(values.begin(), values.end());
}

}  // namespace

SearchObjective::SearchObjective(const TrainInputs& inputs,
                                 const model::ModelOptions& model_options,
                                 SearchObjectiveOptions options)
    : inputs_(inputs),
      model_options_(model_options),
      options_(std::move(options)),
      users_(data::SampleUsers(options_.train.seed, options_.fraction,
                               data::TrainableUsers(*inputs.dataset))) {
  options_.train.train_users = users_;
  options_.train.validation_users = users_;
  options_.train.keep_last = 1;
  options_.train.tensorboard = false;
  options_.train.resume.clear();
}

TrainOptions SearchObjective::TrainOptionsOf(const TrialSpec& trial) const {
  TrainOptions options = options_.train;
  options.label = trial.label;
  options.stop = trial.stop;
  if (trial.replicate > 0) {
    options.seed = HashKey(options.seed, "replicate", static_cast<uint64_t>(trial.replicate));
  }
  return options;
}

absl::StatusOr<TrialOutcome> SearchObjective::Evaluate(int trial, const std::string& bits,
                                                       const IntermediateCallback& on_epoch) const {
  TrialSpec spec;
  spec.number = trial;
  spec.bits = bits;
  return Evaluate(spec, on_epoch);
}

absl::StatusOr<TrialOutcome> SearchObjective::Evaluate(const TrialSpec& trial,
                                                       const IntermediateCallback& on_epoch) const {
  const std::string folder = trial.folder.empty() ? FolderOf(trial.number) : trial.folder;
  const std::string record_path = folder + "/trial.json";
  const RunRanks ranks(inputs_.group);
  MIXREC_ASSIGN_OR_RETURN(TrialRecord record, OpenTrial(trial, folder, ranks));
  TrialOutcome outcome;
  bool goes_on = true;
  const auto tell = [&](double mrr) {
    ++outcome.epochs;
    if (on_epoch && goes_on) goes_on = on_epoch(static_cast<int>(outcome.epochs), mrr);
    return goes_on;
  };
  if (!record.finished) {
    model::ModelOptions model_options = model_options_;
    model_options.architecture = trial.bits;
    if (trial.replace_every > 0) model_options.replace_every = trial.replace_every;
    if (trial.bottleneck > 0) model_options.bottleneck = trial.bottleneck;
    TrainInputs inputs = inputs_;
    inputs.placement = trial.placement;
    MIXREC_ASSIGN_OR_RETURN(const auto trainer,
                            Trainer::Create(inputs, model_options, TrainOptionsOf(trial), folder));
    for (const double mrr : trainer->validation_mrr()) tell(mrr);
    MIXREC_ASSIGN_OR_RETURN(const TrainResult result, trainer->Run([&](const EpochReport& report) {
      return tell(report.validation.Mrr());
    }));
    record.validation_mrr = result.validation_mrr;
    record.finished = true;
    outcome.seconds = result.seconds;
    MIXREC_RETURN_IF_ERROR(ranks.OnLeader("the end of a trial", [&] {
      MIXREC_RETURN_IF_ERROR(WriteFileAtomic(record_path, ToText(record)));
      std::error_code ignored;
      std::filesystem::remove_all(CheckpointsFolder(folder), ignored);
      return absl::OkStatus();
    }));
  } else {
    for (const double mrr : record.validation_mrr) tell(mrr);
  }
  outcome.value = Best(record.validation_mrr);
  return outcome;
}

}  // namespace mixrec::worker
