// What the rows of a table came to: row.json of each, and means and spreads over seeds.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/status.h"
#include "launch/table_plan.h"

namespace mixrec::launch {

enum class RowState { kMissing, kFinished, kStopped, kFailed };

// row.json: how a row ended, with which flags, and the objects of `mixrec evaluate --all`.
struct RowRecord {
  RowState state = RowState::kMissing;
  std::string reason;  // of a row that failed or stopped
  double seconds = 0;  // of its commands, over all starts
  FlagValues flags;    // with the architecture that was searched
  int64_t best_epoch = 0;
  std::string data_hash, backbone_hash;
  nlohmann::json evaluations;  // a list
};

std::string RowFile(const TableRow& row);
// kMissing when there is none, or none that can be read.
RowRecord ReadRow(const TableRow& row);
absl::Status WriteRow(const TableRow& row, const TablePlan& plan, const RowRecord& record);
// Of a row whose commands have succeeded: what run.json and evaluation.jsonl say.
absl::Status TakeResults(const TableRow& row, RowRecord* record);

struct Spread {
  std::vector<double> values;  // by seed
  double mean = 0;
  double deviation = 0;  // sample standard deviation; 0 for one value
};
Spread SpreadOf(std::vector<double> values);

struct SystemResult {
  std::string name, title;
  std::vector<int64_t> seeds;                               // finished
  std::vector<std::pair<int64_t, std::string>> unfinished;  // seed, reason
  // By "validation kept", "test masked", ... and the metric's name.
  std::map<std::string, std::map<std::string, Spread>> metrics;
  Spread best_epoch;
};

struct TableResult {
  std::string data, backbone;  // folders' names
  std::string epochs;
  nlohmann::json protocol;  // of the first evaluation, without what differs between them
  int64_t users = 0;
  std::vector<SystemResult> systems;
};

// DataError when rows were trained on different data or backbones, or ranked by other protocols:
// they must not stand in one table.
absl::StatusOr<TableResult> Collect(const TablePlan& plan, const std::vector<RowRecord>& records);

}  // namespace mixrec::launch
