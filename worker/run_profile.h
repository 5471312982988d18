// Profiles some steps of a run (--profile): once it is warm, steps as they are, and on a GPU as
// many launched kernel by kernel, since only then a kernel's phase is known.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <string>

#include "common/status.h"
#include "worker/step_profile.h"
#include "worker/train_step.h"

namespace mixrec::worker {

class RunProfile {
 public:
  // Steps before the first profile, and of each.
  static constexpr int64_t kWarmUp = 20, kSteps = 10;

  // Writes FOLDER/steps.{txt,trace.json}; on a GPU that is a profile of captured steps, and
  // FOLDER/kernels.{txt,trace.json} one of steps without capture.
  RunProfile(const std::string& folder, at::Device device) : folder_(folder), device_(device) {}

  // To be called before every step of this process.
  absl::Status BeforeStep(TrainStep* step);
  bool finished() const { return finished_; }

 private:
  absl::Status Finish(const std::string& name);

  const std::string folder_;
  const at::Device device_;
  int64_t steps_ = 0;
  std::unique_ptr<StepProfile> profile_;
  bool finished_ = false;
};

}  // namespace mixrec::worker
