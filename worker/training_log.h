// Private to worker/: what a training run says: metrics.jsonl and the progress line.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "common/metrics.h"
#include "common/progress.h"
#include "common/status.h"
#include "worker/trainer.h"

namespace mixrec::worker {

struct TrainingLogOptions {
  int64_t total_steps = 0, first_step = 0, epochs = 0, log_steps = 10;
  bool tensorboard = true, progress = true;
  std::string label;  // before the progress line
};

class TrainingLog {
 public:
  // Records of steps after `first_step` are dropped: they will come again.
  static absl::StatusOr<std::unique_ptr<TrainingLog>> Open(const std::string& run_folder,
                                                           const TrainingLogOptions& options);

  // After every step; `step` counts from 1, `epoch` from 1.
  absl::Status Step(int64_t step, int64_t epoch, double learning_rate, const model::Losses& losses,
                    int64_t tokens, int64_t users);
  absl::Status Epoch(const EpochReport& report);

 private:
  TrainingLog(MetricsWriter writer, const TrainingLogOptions& options);

  TrainingLogOptions options_;
  MetricsWriter writer_;
  std::unique_ptr<Progress> progress_;
  std::string validation_text_;
  std::chrono::steady_clock::time_point interval_start_;
  int64_t interval_tokens_ = 0, interval_users_ = 0;  // since the last record
  double tokens_per_second_ = 0;
};

}  // namespace mixrec::worker
