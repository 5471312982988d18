#include "worker/table_files.h"

#include <filesystem>
#include <map>
#include <memory>

#include "ps/snapshot.h"
#include "ps/table.h"

namespace mixrec::worker {
namespace {

constexpr char kUpdateCount[] = "update_count.";

bool StartsWith(const std::string& text, const std::string& prefix) {
  return text.rfind(prefix, 0) == 0;
}

// NAME of MOMENT.NAME, or the name itself.
std::string WithoutPrefix(const std::string& name) {
  for (const std::string prefix : {"first_moment.", "second_moment.", kUpdateCount}) {
    if (StartsWith(name, prefix)) return name.substr(prefix.size());
  }
  return name;
}

bool BelongsTo(const ps::TableSpec& spec, const std::string& name) {
  const std::string bare = WithoutPrefix(name);
  if (StartsWith(name, kUpdateCount)) return bare == spec.name;
  for (const ps::PartSpec& part : spec.parts) {
    if (part.name == bare) return true;
  }
  return false;
}

// A whole table on the CPU.
std::unique_ptr<ps::Table> WholeTable(ps::TableSpec spec, bool initial_values) {
  for (ps::PartSpec& part : spec.parts) part.stddev = initial_values ? part.stddev : 0;
  return std::make_unique<ps::Table>(spec, ps::BucketRange(), at::kCPU);
}

ps::NamedTensors AllTensors(const ps::Table& table) {
  ps::NamedTensors tensors = table.Values();
  const ps::NamedTensors state = table.OptimizerState();
  tensors.insert(tensors.end(), state.begin(), state.end());
  return tensors;
}

// A table with the values of its tensors, or with initial ones. Embedded, a dense table's rows have
// no update counts of their own: they are the run's steps.
absl::StatusOr<std::unique_ptr<ps::Table>> FilledTable(const ps::TableSpec& spec,
                                                       const model::NamedTensors& tensors,
                                                       int64_t step) {
  model::NamedTensors own;
  bool moments = false, counts = false;
  for (const auto& [name, tensor] : tensors) {
    if (!BelongsTo(spec, name)) continue;
    own.emplace_back(name, tensor);
    counts = counts || StartsWith(name, kUpdateCount);
    moments = moments || StartsWith(name, "first_moment.");
  }
  std::unique_ptr<ps::Table> table = WholeTable(spec, own.empty());
  if (own.empty()) return table;
  if (moments && !counts && spec.dense) {
    own.emplace_back(kUpdateCount + spec.name, at::full({spec.rows}, step, at::kInt));
  }
  MIXREC_RETURN_IF_ERROR(ps::SetTensors(own, table.get()));
  return table;
}

}  // namespace

std::string TablesFolder(const std::string& checkpoint) { return checkpoint + "/tables"; }

bool IsOfTables(const TableSpecList& specs, const std::string& name) {
  for (const ps::TableSpec& spec : specs) {
    if (BelongsTo(spec, name)) return true;
  }
  return false;
}

absl::Status ReadTablesInto(const std::string& folder, int64_t step, const TableSpecList& specs,
                            const model::NamedTensors& views) {
  MIXREC_ASSIGN_OR_RETURN(const ps::SnapshotInfo info, ps::ReadSnapshotInfo(folder));
  if (info.step != step) {
    return DataError(folder, ": tables of step ", info.step, " in a checkpoint of step ", step);
  }
  std::map<std::string, at::Tensor> wanted(views.begin(), views.end());
  for (const ps::TableSpec& spec : specs) {
    const std::unique_ptr<ps::Table> table = WholeTable(spec, /*initial_values=*/false);
    MIXREC_RETURN_IF_ERROR(ps::ReadSnapshotTable(folder, table.get()));
    for (const auto& [name, tensor] : AllTensors(*table)) {
      const auto view = wanted.find(name);
      if (view == wanted.end()) continue;
      view->second.copy_(tensor.reshape(view->second.sizes()));
      wanted.erase(view);
    }
  }
  for (const auto& [name, view] : wanted) {
    if (IsOfTables(specs, name)) return DataError(folder, ": tensor ", name, " is missing");
  }
  return absl::OkStatus();
}

absl::Status SendTables(const TableSpecList& specs, const model::NamedTensors& tensors,
                        int64_t step, const std::string& folder, ps::Session* session) {
  std::vector<std::unique_ptr<ps::Table>> tables;
  std::vector<const ps::Table*> pointers;
  for (const ps::TableSpec& spec : specs) {
    MIXREC_ASSIGN_OR_RETURN(tables.emplace_back(), FilledTable(spec, tensors, step));
    pointers.push_back(tables.back().get());
  }
  // Servers see the folder from wherever they were started.
  const std::string path = std::filesystem::absolute(folder).string();
  absl::Status status = ps::WriteSnapshot(path, step, pointers);
  if (status.ok()) status = session->Restore(path, step);
  std::error_code ignored;
  std::filesystem::remove_all(path, ignored);
  return status;
}

}  // namespace mixrec::worker
