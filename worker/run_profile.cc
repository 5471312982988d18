#include "worker/run_profile.h"

#include "common/log.h"

namespace mixrec::worker {

absl::Status RunProfile::BeforeStep(TrainStep* step) {
  if (finished_) return absl::OkStatus();
  constexpr int64_t kSecond = kWarmUp + kSteps + 3;  // the first steps without capture warm up
  const int64_t now = steps_++;
  if (now == kWarmUp || now == kSecond) {
    profile_ = std::make_unique<StepProfile>(device_);
  } else if (now == kWarmUp + kSteps) {
    MIXREC_RETURN_IF_ERROR(Finish("steps"));
    finished_ = device_.is_cpu();
    step->set_capture(finished_);
  } else if (now == kSecond + kSteps) {
    MIXREC_RETURN_IF_ERROR(Finish("kernels"));
    finished_ = true;
    step->set_capture(true);
  }
  return absl::OkStatus();
}

absl::Status RunProfile::Finish(const std::string& name) {
  const auto report = profile_->Finish(kSteps, folder_, name);
  profile_.reset();
  if (report.ok()) LOG(INFO) << "profile: " << folder_ << "/" << name << ".txt, .trace.json";
  return report.status();
}

}  // namespace mixrec::worker
