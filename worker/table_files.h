// Tables of a model in checkpoints: CHECKPOINT/tables, a snapshot that servers write and read
// (docs/table_snapshots.md), or tensors among the others when the tables are embedded. Either kind
// of run goes on from either kind of checkpoint (docs/checkpoints.md).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/status.h"
#include "model/safetensors.h"
#include "ps/session.h"

namespace mixrec::worker {

using TableSpecList = std::vector<ps::TableSpec>;

// CHECKPOINT/tables.
std::string TablesFolder(const std::string& checkpoint);

// Whether a tensor of a checkpoint belongs to a table: its values, moments or update counts.
bool IsOfTables(const TableSpecList& specs, const std::string& name);

// Copies those of `views` that belong to tables out of a snapshot of step `step`; one table at a
// time is in memory. DataError when something is missing, damaged or of another step.
absl::Status ReadTablesInto(const std::string& folder, int64_t step, const TableSpecList& specs,
                            const model::NamedTensors& views);

// Puts tables into the session's servers, which go on at `step`. The tensors are those of a
// checkpoint with embedded tables, or values alone; a table of which there are none gets its
// initial values. Travels as a snapshot in `folder`, which is made and removed.
absl::Status SendTables(const TableSpecList& specs, const model::NamedTensors& tensors,
                        int64_t step, const std::string& folder, ps::Session* session);

}  // namespace mixrec::worker
