#include "tests/simulation/ps_job.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "common/random.h"
#include "common/status.h"

namespace mixrec::ps {

TableSpec CountTable(const WorldOptions& options) {
  TableSpec spec;
  spec.name = "counts";
  spec.rows = options.rows;
  spec.parts = {{"counts", options.workers, 0}};
  spec.optimizer.kind = Optimizer::kSgd;
  spec.optimizer.weight_decay = 0;
  return spec;
}

TableSpec AdamTable(const WorldOptions& options) {
  TableSpec spec;
  spec.name = "values";
  spec.rows = options.rows;
  spec.parts = {{"values", 3, 0.02}};
  spec.seed = options.seed;
  return spec;
}

TableSpec SoftmaxTable(const WorldOptions& options) {
  TableSpec spec;
  spec.name = "items";
  spec.rows = options.rows;
  spec.parts = {{"items", 3, 0.5}, {"bias", 1, 0}};
  spec.partition = Partition::kRanges;
  spec.dense = true;
  spec.seed = options.seed;
  return spec;
}

Job::Job(const WorldOptions& world)
    : options(world),
      started(static_cast<size_t>(world.workers), 0),
      acknowledged(static_cast<size_t>(world.workers), 0),
      barrier(static_cast<size_t>(world.workers), 0) {
  for (int rank = 0; rank < world.workers; ++rank) {
    rows_.emplace_back();
    counts_.push_back({std::vector<int32_t>(static_cast<size_t>(world.rows), 0)});
    for (int64_t step = 0; step < world.steps; ++step) {
      RandomStream random(
          HashKey(world.seed, "rows", static_cast<uint64_t>(rank), static_cast<uint64_t>(step)));
      std::vector<int32_t> ids;
      std::vector<int32_t> counts = counts_.back().back();
      for (int32_t row = 0; row < world.rows; ++row) {
        if (random.Uniform() < 0.5) continue;
        ids.push_back(row);
        ++counts[static_cast<size_t>(row)];
      }
      rows_.back().push_back(std::move(ids));
      counts_.back().push_back(std::move(counts));
    }
  }
}

const std::vector<int32_t>& Job::RowsOf(int rank, int64_t step) const {
  return rows_[static_cast<size_t>(rank)][static_cast<size_t>(step)];
}

int64_t Job::Count(int rank, int64_t step, int64_t row) const {
  step = std::clamp<int64_t>(step, 0, options.steps);
  return counts_[static_cast<size_t>(rank)][static_cast<size_t>(step)][static_cast<size_t>(row)];
}

void Job::StartAgain() {
  failed = false;
  ++attempt;
  std::fill(started.begin(), started.end(), first_step);
  std::fill(acknowledged.begin(), acknowledged.end(), first_step);
  std::fill(barrier.begin(), barrier.end(), 0);
  ranks_done = 0;
}

void Job::TakeTornSnapshot() {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    const int64_t step = std::stoll(name.substr(name.find('-') + 1));
    if (step <= first_step) continue;
    first_step = step;
    snapshot = entry.path().string();
  }
}

void Job::CheckRows(int reader, int64_t step, const std::vector<int32_t>& ids,
                    const at::Tensor& rows, int64_t own_acknowledged) {
  const auto values = rows.accessor<float, 2>();
  for (size_t k = 0; k < ids.size(); ++k) {
    for (int rank = 0; rank < options.workers; ++rank) {
      int64_t at_least = 0, at_most = started[static_cast<size_t>(rank)];
      if (options.consistency == Consistency::kBsp) at_least = at_most = step;
      if (options.consistency == Consistency::kSsp) at_least = step - options.staleness;
      if (rank == reader) at_least = std::max(at_least, own_acknowledged);
      const auto found = static_cast<int64_t>(values[static_cast<int64_t>(k)][rank]);
      if (found >= Count(rank, at_least, ids[k]) && found <= Count(rank, at_most, ids[k])) {
        continue;
      }
      violation = StrCat("rank ", reader, " at step ", step, " reads row ", ids[k], " with ", found,
                         " pushes of rank ", rank, ", allowed are those of the first ", at_least,
                         " to ", at_most, " steps: ", Count(rank, at_least, ids[k]), " to ",
                         Count(rank, at_most, ids[k]));
    }
  }
}

void Job::CheckEnd(const at::Tensor& counts, const at::Tensor& values, const at::Tensor& items) {
  const auto found = counts.accessor<float, 2>();
  for (int64_t row = 0; row < options.rows; ++row) {
    for (int rank = 0; rank < options.workers; ++rank) {
      const int64_t expected = Count(rank, options.steps, row);
      if (static_cast<int64_t>(found[row][rank]) == expected) continue;
      violation = StrCat("at the end row ", row, " has ", found[row][rank], " pushes of rank ",
                         rank, ", which were ", expected);
    }
  }
  for (const at::Tensor& rows : {values, items}) {
    const std::string_view bytes(static_cast<const char*>(rows.data_ptr()), rows.nbytes());
    parameters = HashKey(parameters, bytes);
  }
}

}  // namespace mixrec::ps
