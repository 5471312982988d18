// The numbers of a run: RUN/metrics.jsonl, one JSON object a line, mirrored to a TensorBoard event
// file in RUN/tensorboard.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/status.h"

namespace mixrec {

struct MetricsOptions {
  bool tensorboard = true;
  std::function<double()> now;  // seconds since 1970; empty: the system's clock
};

// Appends records {"step":…,"time":…,NAME:VALUE,…}. Each is on disk as one whole line when Write
// returns: a reader never sees half of one, and a full disk leaves the file as it was. Numbers that
// JSON cannot say (NaN, infinities) are null. One thread; the last writer of a file wins.
class MetricsWriter {
 public:
  // Opens, or goes on with, `run_folder`/metrics.jsonl (the folder must exist). A half-written last
  // line, left by a machine that stopped, is dropped.
  static absl::StatusOr<MetricsWriter> Open(const std::string& run_folder,
                                            MetricsOptions options = {});
  MetricsWriter(MetricsWriter&& other) noexcept;
  MetricsWriter& operator=(MetricsWriter&& other) noexcept;
  MetricsWriter(const MetricsWriter&) = delete;
  MetricsWriter& operator=(const MetricsWriter&) = delete;
  ~MetricsWriter();

  // One record. `extra` (an object, or nothing) adds fields, e.g. {"epoch": 3}. The scalars at its
  // top level go to TensorBoard as well.
  absl::Status Write(int64_t step, const std::vector<std::pair<std::string, double>>& values,
                     const nlohmann::json& extra = {});

  // Drops the records of steps after `step`: call it after loading the checkpoint of `step`, so
  // that a resumed run has each step once. Rewrites the event file from what is left.
  absl::Status TruncateAfterStep(int64_t step);

 private:
  MetricsWriter(std::string run_folder, MetricsOptions options);
  absl::Status OpenFiles();
  absl::Status MirrorToTensorboard(const nlohmann::ordered_json& record);
  void Close();

  std::string run_folder_;
  MetricsOptions options_;
  int metrics_file_ = -1;
  int event_file_ = -1;  // opened by the first record that has a scalar
};

}  // namespace mixrec
