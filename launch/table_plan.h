// What `mixrec table` runs: a row a system and seed, each a training and its evaluation in a folder
// of its own, and before them, where a system asks for it, a search.
//
//   OUT/systems/NAME.flags       the flags of a system's runs
//   OUT/search/                  the study, when it is searched here
//   OUT/cf/NAME.seed-N/          a CF model trained beforehand
//   OUT/runs/NAME/seed-N/        a run of `mixrec train`, with evaluation.jsonl and row.json
//   OUT/logs/                    what the commands printed
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "common/status.h"
#include "launch/program.h"
#include "launch/table_systems.h"
#include "launch/tasks.h"

namespace mixrec::launch {

using FlagValues = std::map<std::string, std::string>;

struct TableRow {
  size_t system = 0;  // of the plan's
  int64_t seed = 1;
  std::string name;    // "base seed 1"
  std::string folder;  // OUT/runs/NAME/seed-N
  FlagValues flags;    // of `mixrec train`, but for --out and what says where it runs
};

struct TablePlan {
  std::vector<TableSystem> systems;
  std::vector<TableRow> rows;
  bool searches = false;  // some system asks for a searched architecture and --study is empty
  FlagValues machine;     // --device, --precision, --threads, --log_level of every command
  FlagValues search;      // flags of `mixrec search`, but for --out
  std::string study;      // the folder whose best.flags count
};

// From the flags of `mixrec table`. With --study the searched architecture is known already.
absl::StatusOr<TablePlan> MakeTablePlan(const Invocation& invocation);

// The searched architecture, as best.flags of the study has it.
absl::StatusOr<std::string> SearchedArchitecture(const TablePlan& plan);
// The row's flags with the searched architecture in its place, where it asks for one.
absl::StatusOr<FlagValues> ResolvedFlags(const TablePlan& plan, const TableRow& row);

// Writes OUT/systems/*.flags.
absl::Status WriteSystemFlags(const TablePlan& plan);

// The commands of a row, and of the search.
Task RowTask(const TablePlan& plan, const TableRow& row);
Task SearchTask(const TablePlan& plan);

// OUT/runs/NAME/seed-N/evaluation.jsonl.
std::string EvaluationFile(const TableRow& row);

}  // namespace mixrec::launch
