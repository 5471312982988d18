#include "worker/step_profile.h"

#include <torch/csrc/autograd/profiler_kineto.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <string_view>
#include <unordered_map>

#include "absl/strings/str_format.h"
#include "common/file.h"
#include "common/log.h"
#include "tensor/phase.h"

namespace mixrec::worker {
namespace {

namespace kineto = torch::autograd::profiler;
using torch::profiler::impl::ActivityType;

constexpr double kMillisecond = 1e6;  // ns
constexpr char kOther[] = "other";

// A stretch of host time; phases of one thread nest.
struct Stretch {
  uint64_t begin = 0, end = 0;
  std::string name;
  double inside = 0;  // ns of phases directly inside
};

class PhaseTimes {
 public:
  explicit PhaseTimes(const std::vector<kineto::KinetoEvent>& events) {
    for (const kineto::KinetoEvent& event : events) {
      if (event.deviceType() != c10::DeviceType::CPU) continue;
      const std::string name = event.name();
      if (name.rfind(tensor::kPhasePrefix, 0) != 0) continue;
      stretches_.push_back(
          {event.startNs(), event.endNs(), name.substr(sizeof(tensor::kPhasePrefix) - 1), 0});
    }
    std::sort(stretches_.begin(), stretches_.end(), [](const Stretch& a, const Stretch& b) {
      return a.begin != b.begin ? a.begin < b.begin : a.end > b.end;
    });
    parents_.assign(stretches_.size(), -1);
    std::vector<int> open;
    for (size_t i = 0; i < stretches_.size(); ++i) {
      while (!open.empty() && stretches_[open.back()].end <= stretches_[i].begin) open.pop_back();
      if (!open.empty()) {
        parents_[i] = open.back();
        stretches_[open.back()].inside +=
            static_cast<double>(stretches_[i].end - stretches_[i].begin);
      }
      open.push_back(static_cast<int>(i));
    }
  }

  // The innermost phase at a moment.
  std::string At(uint64_t moment) const {
    const auto after =
        std::upper_bound(stretches_.begin(), stretches_.end(), moment,
                         [](uint64_t time, const Stretch& s) { return time < s.begin; });
    for (int i = static_cast<int>(after - stretches_.begin()) - 1; i >= 0; i = parents_[i]) {
      if (stretches_[i].end >= moment) return stretches_[i].name;
    }
    return kOther;
  }
  const std::vector<Stretch>& stretches() const { return stretches_; }

 private:
  std::vector<Stretch> stretches_;
  std::vector<int> parents_;
};

// Host times of whatever launched something on the device.
class Launches {
 public:
  explicit Launches(const std::vector<kineto::KinetoEvent>& events) {
    for (const kineto::KinetoEvent& event : events) {
      if (event.deviceType() != c10::DeviceType::CPU) continue;
      starts_[event.correlationId()] = event.startNs();
    }
  }
  // 0: unknown.
  uint64_t Of(const kineto::KinetoEvent& kernel) const {
    for (const uint64_t id : {kernel.linkedCorrelationId(), kernel.correlationId()}) {
      const auto found = starts_.find(id);
      if (id != 0 && found != starts_.end()) return found->second;
    }
    return 0;
  }

 private:
  std::unordered_map<uint64_t, uint64_t> starts_;
};

// Device time that is not a kernel's own: annotations that span kernels. Names of our kernels begin
// like those of phases, and have parameters.
bool IsAnnotation(const kineto::KinetoEvent& event) {
  const std::string name = event.name();
  const bool phase = name.rfind(tensor::kPhasePrefix, 0) == 0;
  return (phase && name.find('(') == std::string::npos) || name.rfind("ProfilerStep", 0) == 0;
}

ProfileReport Report(const std::vector<kineto::KinetoEvent>& events, int64_t steps) {
  ProfileReport report;
  report.steps = steps;
  const double per_step = 1.0 / (kMillisecond * static_cast<double>(std::max<int64_t>(1, steps)));
  const PhaseTimes phases(events);
  std::map<std::string, size_t> index;
  const auto phase = [&](const std::string& name) -> ProfiledPhase& {
    const auto [found, is_new] = index.emplace(name, report.phases.size());
    if (is_new) report.phases.push_back({name, 0, 0, 0});
    return report.phases[found->second];
  };
  for (const Stretch& s : phases.stretches()) {
    phase(s.name).host += (static_cast<double>(s.end - s.begin) - s.inside) * per_step;
  }
  const Launches launches(events);
  std::map<std::string, ProfiledKernel> kernels;
  uint64_t first = ~uint64_t{0}, last = 0;
  for (const kineto::KinetoEvent& event : events) {
    first = std::min(first, event.startNs());
    last = std::max(last, event.endNs());
    if (event.deviceType() == c10::DeviceType::CPU || IsAnnotation(event)) continue;
    const double time = static_cast<double>(event.durationNs()) * per_step;
    const uint64_t launched = launches.Of(event);
    ProfiledPhase& in = phase(launched == 0 ? kOther : phases.At(launched));
    in.device += time;
    in.kernels += 1.0 / static_cast<double>(steps);
    report.device_busy += time;
    ProfiledKernel& kernel = kernels[event.name()];
    kernel.name = event.name();
    kernel.calls += 1.0 / static_cast<double>(steps);
    kernel.device += time;
  }
  if (last > first) report.wall = static_cast<double>(last - first) * per_step;
  for (auto& [name, kernel] : kernels) report.kernels.push_back(kernel);
  std::sort(report.kernels.begin(), report.kernels.end(),
            [](const ProfiledKernel& a, const ProfiledKernel& b) { return a.device > b.device; });
  return report;
}

std::set<ActivityType> ActivitiesOf(at::Device device) {
  std::set<ActivityType> activities{ActivityType::CPU};
  if (device.is_cuda()) activities.insert(ActivityType::CUDA);
  return activities;
}

}  // namespace

StepProfile::StepProfile(at::Device device) {
  const torch::profiler::impl::ProfilerConfig config(torch::profiler::impl::ProfilerState::KINETO);
  kineto::prepareProfiler(config, ActivitiesOf(device));
  kineto::enableProfiler(config, ActivitiesOf(device));
}

StepProfile::~StepProfile() {
  if (recording_) kineto::disableProfiler();
}

absl::StatusOr<ProfileReport> StepProfile::Finish(int64_t steps, const std::string& folder,
                                                  const std::string& name) {
  CHECK(recording_);
  recording_ = false;
  const std::unique_ptr<kineto::ProfilerResult> result = kineto::disableProfiler();
  MIXREC_RETURN_IF_ERROR(MakeFolder(folder));
  const std::string path = StrCat(folder, "/", name);
  const ProfileReport report = Report(result->events(), steps);
  result->save(path + ".trace.json");
  if (!std::filesystem::exists(path + ".trace.json")) {
    return FailureError("cannot write ", path, ".trace.json");
  }
  MIXREC_RETURN_IF_ERROR(WriteFileAtomic(path + ".txt", ProfileText(report)));
  return report;
}

std::string ProfileText(const ProfileReport& report) {
  std::string text = absl::StrFormat(
      "%d steps, %.3f ms each, device busy %.3f ms\n\n%-34s %10s %10s %8s\n", report.steps,
      report.wall, report.device_busy, "phase", "host ms", "device ms", "kernels");
  for (const ProfiledPhase& phase : report.phases) {
    text += absl::StrFormat("%-34s %10.3f %10.3f %8.0f\n", phase.name, phase.host, phase.device,
                            phase.kernels);
  }
  if (report.kernels.empty()) return text;
  text += absl::StrFormat("\n%10s %8s %9s  kernel\n", "device ms", "calls", "us a call");
  for (const ProfiledKernel& kernel : report.kernels) {
    text += absl::StrFormat("%10.3f %8.1f %9.2f  %s\n", kernel.device, kernel.calls,
                            1e3 * kernel.device / std::max(1e-9, kernel.calls),
                            kernel.name.substr(0, 160));
  }
  return text;
}

}  // namespace mixrec::worker
