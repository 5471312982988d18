#include "launch/table_results.h"

#include <cmath>
#include <filesystem>
#include <sstream>

#include "common/file.h"
#include "launch/flags.h"
#include "launch/run_folder.h"

namespace mixrec::launch {
namespace {

using Json = nlohmann::json;

const char* NameOf(RowState state) {
  switch (state) {
    case RowState::kFinished:
      return "finished";
    case RowState::kStopped:
      return "stopped";
    case RowState::kFailed:
      return "failed";
    case RowState::kMissing:
      break;
  }
  return "missing";
}

RowState StateOf(const std::string& name) {
  for (const RowState state : {RowState::kFinished, RowState::kStopped, RowState::kFailed}) {
    if (name == NameOf(state)) return state;
  }
  return RowState::kMissing;
}

// The protocol that all evaluations of a table share.
Json SharedProtocol(const Json& evaluation) {
  Json protocol = evaluation.value("protocol", Json::object());
  protocol.erase("seen_items");
  return protocol;
}

std::string KeyOf(const Json& evaluation) {
  return StrCat(evaluation.at("split").get<std::string>(), " ",
                evaluation.at("protocol").at("seen_items").get<std::string>());
}

// Every metric of every evaluation of these rows.
absl::Status AddMetrics(const std::vector<const RowRecord*>& rows, SystemResult* result) {
  std::map<std::string, std::map<std::string, std::vector<double>>> values;
  std::vector<double> epochs;
  try {
    for (const RowRecord* row : rows) {
      epochs.push_back(static_cast<double>(row->best_epoch));
      for (const Json& evaluation : row->evaluations) {
        for (const auto& [metric, value] : evaluation.at("metrics").items()) {
          values[KeyOf(evaluation)][metric].push_back(value.get<double>());
        }
      }
    }
  } catch (const Json::exception& error) {
    return DataError("an evaluation of ", result->name, " is damaged: ", error.what());
  }
  for (auto& [key, metrics] : values) {
    for (auto& [metric, list] : metrics) result->metrics[key][metric] = SpreadOf(std::move(list));
  }
  result->best_epoch = SpreadOf(std::move(epochs));
  return absl::OkStatus();
}

absl::Status CheckComparable(const std::vector<RowRecord>& records, const TablePlan& plan) {
  const RowRecord* first = nullptr;
  for (size_t index = 0; index < records.size(); ++index) {
    const RowRecord& record = records[index];
    if (record.state != RowState::kFinished) continue;
    if (first == nullptr) first = &record;
    const bool same =
        record.data_hash == first->data_hash && record.backbone_hash == first->backbone_hash &&
        SharedProtocol(record.evaluations.at(0)) == SharedProtocol(first->evaluations.at(0));
    if (!same) {
      return DataError("the row ", plan.rows[index].name,
                       " was trained on other data or another backbone, or ranked by another "
                       "protocol, than the rows before it; remove ",
                       plan.rows[index].folder, " or choose another --out");
    }
  }
  return absl::OkStatus();
}

}  // namespace

std::string RowFile(const TableRow& row) { return StrCat(row.folder, "/row.json"); }

RowRecord ReadRow(const TableRow& row) {
  RowRecord record;
  const auto text = ReadFile(RowFile(row));
  if (!text.ok()) return record;
  const Json json = Json::parse(*text, nullptr, /*allow_exceptions=*/false);
  try {
    record.reason = json.at("reason");
    record.seconds = json.at("seconds");
    record.flags = json.at("flags").get<FlagValues>();
    record.best_epoch = json.at("best_epoch");
    record.data_hash = json.at("data_hash");
    record.backbone_hash = json.at("backbone_hash");
    record.evaluations = json.at("evaluations");
    record.state = StateOf(json.at("state"));
  } catch (const Json::exception&) {
    return {};  // not a record: the row runs again
  }
  const bool whole = record.evaluations.is_array() && !record.evaluations.empty();
  if (record.state == RowState::kFinished && !whole) return {};
  return record;
}

absl::Status WriteRow(const TableRow& row, const TablePlan& plan, const RowRecord& record) {
  const nlohmann::ordered_json json{{"system", plan.systems[row.system].name},
                                    {"seed", row.seed},
                                    {"state", NameOf(record.state)},
                                    {"reason", record.reason},
                                    {"seconds", record.seconds},
                                    {"best_epoch", record.best_epoch},
                                    {"data_hash", record.data_hash},
                                    {"backbone_hash", record.backbone_hash},
                                    {"flags", record.flags},
                                    {"evaluations", record.evaluations}};
  MIXREC_RETURN_IF_ERROR(MakeFolder(row.folder));
  return WriteFileAtomic(RowFile(row), json.dump(2) + "\n");
}

absl::Status TakeResults(const TableRow& row, RowRecord* record) {
  MIXREC_ASSIGN_OR_RETURN(const Json run, ReadRunRecord(row.folder));
  MIXREC_ASSIGN_OR_RETURN(const std::string text, ReadFile(EvaluationFile(row)));
  try {
    record->best_epoch = run.at("result").at("best_epoch");
    record->data_hash = run.at("inputs").at("data").at("hash");
    record->backbone_hash = run.at("inputs").at("backbone").at("hash");
    record->evaluations = Json::array();
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      record->evaluations.push_back(Json::parse(line));
    }
  } catch (const Json::exception& error) {
    return DataError("the results in ", row.folder, " are damaged: ", error.what());
  }
  if (record->evaluations.empty()) return DataError(EvaluationFile(row), " is empty");
  return absl::OkStatus();
}

Spread SpreadOf(std::vector<double> values) {
  Spread spread;
  for (const double value : values) spread.mean += value / static_cast<double>(values.size());
  if (values.size() > 1) {
    double squares = 0;
    for (const double value : values) squares += (value - spread.mean) * (value - spread.mean);
    spread.deviation = std::sqrt(squares / static_cast<double>(values.size() - 1));
  }
  spread.values = std::move(values);
  return spread;
}

absl::StatusOr<TableResult> Collect(const TablePlan& plan, const std::vector<RowRecord>& records) {
  MIXREC_RETURN_IF_ERROR(CheckComparable(records, plan));
  TableResult table;
  const auto name_of = [](const std::string& path) {
    const auto normal = std::filesystem::path(path).lexically_normal();
    return (normal.has_filename() ? normal : normal.parent_path()).filename().string();
  };
  table.data = name_of(FLAGS_data);
  table.backbone = name_of(FLAGS_backbone);
  table.epochs = StrCat(FLAGS_epochs);
  for (size_t index = 0; index < plan.systems.size(); ++index) {
    SystemResult system;
    system.name = plan.systems[index].name;
    system.title = plan.systems[index].title;
    std::vector<const RowRecord*> finished;
    for (size_t row = 0; row < plan.rows.size(); ++row) {
      if (plan.rows[row].system != index) continue;
      if (records[row].state == RowState::kFinished) {
        system.seeds.push_back(plan.rows[row].seed);
        finished.push_back(&records[row]);
      } else if (records[row].state != RowState::kMissing) {
        system.unfinished.emplace_back(plan.rows[row].seed, records[row].reason);
      } else {
        system.unfinished.emplace_back(plan.rows[row].seed, "not run yet");
      }
    }
    MIXREC_RETURN_IF_ERROR(AddMetrics(finished, &system));
    if (!finished.empty() && table.users == 0) {
      table.protocol = SharedProtocol(finished.front()->evaluations.at(0));
      table.users = finished.front()->evaluations.at(0).value("users", int64_t{0});
    }
    table.systems.push_back(std::move(system));
  }
  return table;
}

}  // namespace mixrec::launch
