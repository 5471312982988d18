// Where the time of train steps goes: a table of phases (tensor/phase.h) and kernels, and a trace
// that Perfetto (https://ui.perfetto.dev) opens. LibTorch's profiler records; on a GPU every kernel
// is timed by CUPTI, inside captured graphs, too, where no phase is known.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>
#include <vector>

#include "common/status.h"

namespace mixrec::worker {

// Milliseconds a step. On a CPU nothing has device time.
struct ProfiledPhase {
  std::string name;
  double host = 0;    // of this thread, without phases inside
  double device = 0;  // of the kernels that it launched
  double kernels = 0;
};
struct ProfiledKernel {
  std::string name;
  double calls = 0;  // a step
  double device = 0;
};

struct ProfileReport {
  int64_t steps = 0;
  double wall = 0;  // ms a step
  double device_busy = 0;
  std::vector<ProfiledPhase> phases;    // in the order of their first appearance
  std::vector<ProfiledKernel> kernels;  // by device time, descending
};

class StepProfile {
 public:
  // Starts to record this thread and the device. One at a time in a process.
  explicit StepProfile(at::Device device);
  // Stops if nobody has.
  ~StepProfile();
  StepProfile(const StepProfile&) = delete;
  StepProfile& operator=(const StepProfile&) = delete;

  // Stops; `steps` were recorded. Writes FOLDER/NAME.trace.json, FOLDER/NAME.txt.
  absl::StatusOr<ProfileReport> Finish(int64_t steps, const std::string& folder,
                                       const std::string& name);

 private:
  bool recording_ = true;
};

// The report as two tables.
std::string ProfileText(const ProfileReport& report);

}  // namespace mixrec::worker
