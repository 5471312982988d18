// Shards with an item projection and a user table, and their snapshots.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ps/snapshot.h"
#include "ps/table.h"

namespace mixrec::ps {

inline TableSpec ItemSpec(int64_t rows = 9001) {
  TableSpec spec;
  spec.name = "item_proj";
  spec.rows = rows;
  spec.parts = {{"item_proj.weight", 6, 0.02}, {"item_proj.bias", 1, 0}};
  spec.partition = Partition::kRanges;
  spec.dense = true;
  spec.seed = 3;
  return spec;
}

inline TableSpec UserSpec(int64_t rows = 9001) {
  TableSpec spec;
  spec.name = "cf.user";
  spec.rows = rows;
  spec.parts = {{"cf.user_gmf.weight", 3, 0.1}, {"cf.user_mlp.weight", 2, 0.1}};
  spec.seed = 3;
  return spec;
}

inline std::vector<int32_t> LocalIds(const Table& table) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < table.layout().local_rows(); ++i) {
    ids.push_back(static_cast<int32_t>(table.layout().RowOf(i)));
  }
  return ids;
}

// Two steps whose gradients depend on the row alone: the same for any number of shards.
inline void Train(Table* table) {
  const std::vector<int32_t> ids = LocalIds(*table);
  const at::Tensor rows =
      at::tensor(at::ArrayRef<int32_t>(ids), at::kInt).to(at::kFloat).unsqueeze(1);
  for (const double step : {1.0, 2.0}) {
    if (table->spec().dense) {
      table->StepAll({(rows * step).sin().expand({-1, 6}).contiguous(), (rows * step).cos()}, 0.1);
    } else {
      table->PushRows(ids, (rows * step).sin().expand({-1, 5}), 0.1);
    }
  }
}

struct Shard {
  Shard(BucketRange range, int64_t rows) : buckets(range) {
    for (const TableSpec& spec : {ItemSpec(rows), UserSpec(rows)}) {
      tables.push_back(std::make_unique<Table>(spec, range, at::kCPU));
    }
  }
  SnapshotContent Content(int64_t step) const {
    return {step, buckets, {tables[0].get(), tables[1].get()}};
  }
  BucketRange buckets;
  std::vector<std::unique_ptr<Table>> tables;
};

inline std::vector<Shard> MakeShards(int64_t count, int64_t rows = 9001) {
  std::vector<Shard> shards;
  for (int64_t s = 0; s < count; ++s) shards.emplace_back(EvenBuckets(s, count), rows);
  return shards;
}

inline absl::Status Save(const std::string& folder, int64_t step,
                         const std::vector<Shard>& shards) {
  std::vector<Saved> files;
  for (const Shard& shard : shards) {
    MIXREC_ASSIGN_OR_RETURN(Saved saved, WriteSnapshotFile(folder, shard.Content(step)));
    files.push_back(std::move(saved));
  }
  return WriteSnapshotManifest(folder, step, files);
}

}  // namespace mixrec::ps
