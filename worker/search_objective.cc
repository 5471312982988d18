#include "worker/search_objective.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "common/file.h"
#include "worker/checkpoint.h"

namespace mixrec::worker {
namespace {

using Json = nlohmann::ordered_json;

// What a trial's folder says of itself: trial.json.
struct TrialRecord {
  std::string bits;
  bool finished = false;
  std::vector<double> validation_mrr;  // by epoch, once finished
};

TrialRecord ReadRecord(const std::string& path) {
  TrialRecord record;
  const auto text = ReadFile(path);
  if (!text.ok()) return record;
  const Json json = Json::parse(*text, nullptr, /*allow_exceptions=*/false);
  try {
    record.validation_mrr = json.at("validation_mrr").get<std::vector<double>>();
    record.finished = json.at("finished");
    record.bits = json.at("architecture");
  } catch (const nlohmann::json::exception&) {
    return {};  // not a record: the trial starts afresh
  }
  return record;
}

absl::Status WriteRecord(const std::string& path, const TrialRecord& record) {
  const Json json{{"architecture", record.bits},
                  {"finished", record.finished},
                  {"validation_mrr", record.validation_mrr}};
  return WriteFileAtomic(path, json.dump() + "\n");
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

absl::StatusOr<TrialOutcome> SearchObjective::Evaluate(int trial, const std::string& bits,
                                                       const IntermediateCallback& on_epoch) {
  const std::string folder = StrCat(options_.folder, "/trial-", trial);
  const std::string record_path = folder + "/trial.json";
  TrialRecord record = ReadRecord(record_path);
  std::error_code ignored;
  if (record.bits != bits) {  // nothing, or another study's
    std::filesystem::remove_all(folder, ignored);
    MIXREC_RETURN_IF_ERROR(MakeFolder(folder));
    record = {bits, false, {}};
    MIXREC_RETURN_IF_ERROR(WriteRecord(record_path, record));
  }
  TrialOutcome outcome;
  bool goes_on = true;
  const auto tell = [&](double mrr) {
    ++outcome.epochs;
    if (on_epoch && goes_on) goes_on = on_epoch(static_cast<int>(outcome.epochs), mrr);
    return goes_on;
  };
  if (!record.finished) {
    model::ModelOptions model_options = model_options_;
    model_options.architecture = bits;
    MIXREC_ASSIGN_OR_RETURN(const auto trainer,
                            Trainer::Create(inputs_, model_options, options_.train, folder));
    for (const double mrr : trainer->validation_mrr()) tell(mrr);
    MIXREC_ASSIGN_OR_RETURN(const TrainResult result, trainer->Run([&](const EpochReport& report) {
      return tell(report.validation.Mrr());
    }));
    record.validation_mrr = result.validation_mrr;
    record.finished = true;
    outcome.seconds = result.seconds;
    MIXREC_RETURN_IF_ERROR(WriteRecord(record_path, record));
    std::filesystem::remove_all(CheckpointsFolder(folder), ignored);
  } else {
    for (const double mrr : record.validation_mrr) tell(mrr);
  }
  outcome.value = Best(record.validation_mrr);
  return outcome;
}

}  // namespace mixrec::worker
