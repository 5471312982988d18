#include "scheduler/journal_record.h"

#include <chrono>
#include <ctime>

namespace mixrec::scheduler {
namespace {

using nlohmann::json;

constexpr int kMaximise = 2, kMinimise = 1;  // Optuna's study directions

json Record(Operation operation) { return {{"op_code", static_cast<int>(operation)}}; }

// Optuna keeps a distribution as JSON text within the JSON record.
std::string DistributionText(const std::vector<std::string>& choices) {
  const json distribution = {{"name", "CategoricalDistribution"},
                             {"attributes", {{"choices", choices}}}};
  return distribution.dump();
}

absl::StatusOr<TrialParameter> ParseParameter(const std::string& name, double index,
                                              const std::string& distribution_text) {
  const json distribution = json::parse(distribution_text);
  TrialParameter parameter;
  parameter.name = name;
  for (const json& choice : distribution.at("attributes").value("choices", json::array())) {
    parameter.choices.push_back(choice.is_string() ? choice.get<std::string>() : choice.dump());
  }
  parameter.index = static_cast<int>(index);
  if (parameter.index < 0 || parameter.index >= static_cast<int>(parameter.choices.size())) {
    return DataError("parameter ", name, " is ", parameter.index, ", expected one of ",
                     parameter.choices.size(), " choices of a CategoricalDistribution");
  }
  return parameter;
}

std::string TextOrEmpty(const json& record, const char* key) {
  const auto found = record.find(key);
  return found != record.end() && found->is_string() ? found->get<std::string>() : "";
}

std::optional<double> FirstValue(const json& record) {
  const auto values = record.find("values");
  if (values != record.end() && values->is_array() && !values->empty() &&
      values->front().is_number()) {
    return values->front().get<double>();
  }
  const auto value = record.find("value");
  if (value != record.end() && value->is_number()) return value->get<double>();
  return std::nullopt;
}

absl::Status CreateTrial(const json& record, StudyRecord* study) {
  TrialRecord trial;
  trial.number = static_cast<int>(study->trials.size());
  trial.state = static_cast<TrialState>(record.value("state", 0));
  trial.created_at = study->records;
  trial.started = TextOrEmpty(record, "datetime_start");
  trial.completed = TextOrEmpty(record, "datetime_complete");
  trial.value = FirstValue(record);
  if (trial.finished()) trial.finished_at = study->records;
  const json distributions = record.value("distributions", json::object());
  const json parameters = record.value("params", json::object());
  for (const auto& [name, index] : parameters.items()) {
    MIXREC_ASSIGN_OR_RETURN(
        TrialParameter parameter,
        ParseParameter(name, index.get<double>(), distributions.at(name).get<std::string>()));
    trial.parameters.push_back(std::move(parameter));
  }
  const json attributes = record.value("user_attrs", json::object());
  for (const auto& [key, value] : attributes.items()) trial.attributes[key] = value;
  const json intermediate = record.value("intermediate_values", json::object());
  for (const auto& [step, value] : intermediate.items()) {
    if (value.is_number()) trial.intermediate_values[std::stoi(step)] = value.get<double>();
  }
  study->trials.push_back(std::move(trial));
  return absl::OkStatus();
}

// A record about a trial. Records for finished trials are ignored, as Optuna ignores them.
absl::Status ChangeTrial(Operation operation, const json& record, StudyRecord* study) {
  const int number = record.at("trial_id").get<int>();
  if (number < 0 || number >= static_cast<int>(study->trials.size())) {
    return DataError("trial_id ", number, ", expected less than ", study->trials.size());
  }
  TrialRecord& trial = study->trials[static_cast<size_t>(number)];
  if (trial.finished()) return absl::OkStatus();
  if (operation == Operation::kTrialParameter) {
    MIXREC_ASSIGN_OR_RETURN(TrialParameter parameter,
                            ParseParameter(record.at("param_name").get<std::string>(),
                                           record.at("param_value_internal").get<double>(),
                                           record.at("distribution").get<std::string>()));
    trial.parameters.push_back(std::move(parameter));
  } else if (operation == Operation::kIntermediateValue) {
    const json& value = record.at("intermediate_value");
    if (value.is_number()) trial.intermediate_values[record.at("step").get<int>()] = value;
  } else if (operation == Operation::kTrialAttribute) {
    for (const auto& [key, value] : record.at("user_attr").items()) {
      trial.attributes[key] = value;
      trial.changes.emplace_back(key, value);
    }
  } else if (operation == Operation::kTrialState) {
    const int state = record.at("state").get<int>();
    if (state < 0 || state > 4) return DataError("state ", state, ", expected 0 to 4");
    trial.state = static_cast<TrialState>(state);
    if (const std::optional<double> value = FirstValue(record)) trial.value = value;
    if (!trial.finished()) return absl::OkStatus();
    trial.completed = TextOrEmpty(record, "datetime_complete");
    trial.finished_at = study->records;
  }
  return absl::OkStatus();
}

absl::Status Apply(const json& record, StudyRecord* study) {
  const int code = record.at("op_code").get<int>();
  const Operation operation = static_cast<Operation>(code);
  if (operation == Operation::kCreateStudy) {
    if (study->created) return DataError("a second study; one journal holds one study");
    study->created = true;
    study->name = record.at("study_name").get<std::string>();
    study->maximise = record.at("directions").at(0).get<int>() == kMaximise;
    return absl::OkStatus();
  }
  if (!study->created) return DataError("op_code ", code, " before the study was created");
  switch (operation) {
    case Operation::kStudyAttribute:
      for (const auto& [key, value] : record.at("user_attr").items()) {
        study->attributes[key] = value;
      }
      return absl::OkStatus();
    case Operation::kCreateTrial:
      return CreateTrial(record, study);
    case Operation::kTrialParameter:
    case Operation::kTrialState:
    case Operation::kIntermediateValue:
    case Operation::kTrialAttribute:
      return ChangeTrial(operation, record, study);
    case Operation::kStudySystemAttribute:
    case Operation::kTrialSystemAttribute:
      return absl::OkStatus();
    default:
      return DataError("op_code ", code, " is none that a study of MixRec may have");
  }
}

}  // namespace

json CreateStudyRecord(const std::string& name, bool maximise) {
  json record = Record(Operation::kCreateStudy);
  record["study_name"] = name;
  record["directions"] = {maximise ? kMaximise : kMinimise};
  return record;
}

json StudyAttributeRecord(const std::string& key, const json& value) {
  json record = Record(Operation::kStudyAttribute);
  record["study_id"] = 0;
  record["user_attr"] = json::object({{key, value}});
  return record;
}

json CreateTrialRecord(const std::vector<TrialParameter>& parameters,
                       const TrialAttributes& attributes, const std::string& now) {
  json record = Record(Operation::kCreateTrial);
  record["study_id"] = 0;
  record["state"] = static_cast<int>(TrialState::kRunning);
  record["value"] = nullptr;
  record["values"] = nullptr;
  record["datetime_start"] = now;
  record["distributions"] = json::object();
  record["params"] = json::object();
  for (const TrialParameter& parameter : parameters) {
    record["distributions"][parameter.name] = DistributionText(parameter.choices);
    record["params"][parameter.name] = parameter.index;
  }
  record["user_attrs"] = json::object();
  for (const auto& [key, value] : attributes) record["user_attrs"][key] = value;
  record["system_attrs"] = json::object();
  record["intermediate_values"] = json::object();
  return record;
}

json IntermediateValueRecord(int number, int step, double value) {
  json record = Record(Operation::kIntermediateValue);
  record["trial_id"] = number;
  record["step"] = step;
  record["intermediate_value"] = value;
  return record;
}

json TrialAttributeRecord(int number, const std::string& key, const json& value) {
  json record = Record(Operation::kTrialAttribute);
  record["trial_id"] = number;
  record["user_attr"] = json::object({{key, value}});
  return record;
}

json TrialStateRecord(int number, TrialState state, std::optional<double> value,
                      const std::string& now) {
  json record = Record(Operation::kTrialState);
  record["trial_id"] = number;
  record["state"] = static_cast<int>(state);
  record["values"] = value ? json::array({*value}) : json(nullptr);
  record["datetime_complete"] = now;
  return record;
}

std::string UtcNow() {
  using std::chrono::microseconds;
  const auto since = std::chrono::system_clock::now().time_since_epoch();
  const int64_t total = std::chrono::duration_cast<microseconds>(since).count();
  const std::time_t seconds = static_cast<std::time_t>(total / 1000000);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char whole[32], text[64];
  std::strftime(whole, sizeof whole, "%Y-%m-%dT%H:%M:%S", &parts);
  std::snprintf(text, sizeof text, "%s.%06d+00:00", whole, static_cast<int>(total % 1000000));
  return text;
}

absl::Status ApplyRecord(const json& record, StudyRecord* study) {
  try {
    MIXREC_RETURN_IF_ERROR(Apply(record, study));
  } catch (const std::exception& error) {  // the JSON library's: a missing field, a wrong type
    return DataError(error.what());
  }
  ++study->records;
  return absl::OkStatus();
}

}  // namespace mixrec::scheduler
