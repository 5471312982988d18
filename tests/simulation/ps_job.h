// The training job of the simulation: its tables, and which rows it pushes when.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>
#include <vector>

#include "tests/simulation/ps_world.h"

namespace mixrec::ps {

// What the ranks know of each other, outside the network: the launcher's and the checkpoint's part.
struct Job {
  explicit Job(const WorldOptions& options);

  // The rows that a rank pushes at a step: a function of seed, rank and step.
  const std::vector<int32_t>& RowsOf(int rank, int64_t step) const;
  // How many of a rank's steps before `step` name `row`.
  int64_t Count(int rank, int64_t step, int64_t row) const;

  // The launcher starts it once more, from the last snapshot.
  void StartAgain();
  // The mistake of a job that takes the newest folder for a snapshot, whole or not.
  void TakeTornSnapshot();

  // What a rank reads before a step has the pushes that it may have. Otherwise: a violation.
  void CheckRows(int reader, int64_t step, const std::vector<int32_t>& ids, const at::Tensor& rows,
                 int64_t own_acknowledged);
  // The tables at the end: every push counted once.
  void CheckEnd(const at::Tensor& counts, const at::Tensor& values, const at::Tensor& items);

  const WorldOptions& options;
  int attempt = 0;
  int64_t first_step = 0;                      // of this attempt
  std::string snapshot;                        // folder; empty: none yet
  std::vector<int64_t> started, acknowledged;  // steps pushed, by rank
  std::vector<int> barrier;                    // how many barriers each rank has reached
  bool failed = false;                         // a call failed: the launcher starts the job again
  std::string failure;
  std::string violation;
  std::string folder;  // for snapshots
  int ranks_done = 0;
  uint64_t parameters = 0;

 private:
  std::vector<std::vector<std::vector<int32_t>>> rows_;    // by rank and step
  std::vector<std::vector<std::vector<int32_t>>> counts_;  // by rank, step and row
};

// Pushes by row and rank; rows that Adam changes; items, under the softmax.
TableSpec CountTable(const WorldOptions& options);
TableSpec AdamTable(const WorldOptions& options);
TableSpec SoftmaxTable(const WorldOptions& options);

}  // namespace mixrec::ps
