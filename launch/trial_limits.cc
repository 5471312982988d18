#include "launch/trial_limits.h"

#include <map>
#include <string>

#include "launch/flags_search.h"
#include "launch/plan.h"

namespace mixrec::launch {
namespace {

constexpr double kGib = 1 << 30, kTera = 1e12;

// The most that a trial may take by the estimates; 0: no limit.
struct Limits {
  double bytes = 0, flops = 0;
};

model::ModelOptions OptionsOf(model::ModelOptions options, const std::string& architecture,
                              const std::map<std::string, int64_t>& values) {
  options.architecture = architecture;
  for (const auto& [name, value] : values) {
    if (name == bo_driver::kReplaceEvery) options.replace_every = static_cast<int>(value);
    if (name == bo_driver::kBottleneck) options.bottleneck = value;
  }
  return options;
}

// The point with the first or the last value of each dimension besides the bits, by the bits of
// `corner`.
bo_driver::Point AtCorner(const bo_driver::ArchitectureDomain& domain, bo_driver::Point point,
                          int corner) {
  const int numbers = static_cast<int>(domain.dimensions().size());
  for (int k = 0; k < numbers; ++k) {
    const int at = domain.space().dimensions() - numbers + k;
    const int last = domain.space().levels(at) - 1;
    point[static_cast<size_t>(at)] = static_cast<uint8_t>((corner >> k & 1) != 0 ? last : 0);
  }
  return point;
}

// Whether the cheapest trial is feasible: one of all serial or all parallel at a corner.
bool IsAnyFeasible(const bo_driver::StudyOptions& options) {
  const bo_driver::ArchitectureDomain domain = bo_driver::DomainOf(options);
  for (const bo_driver::Point& bits : {domain.space().AllSerial(), domain.space().AllParallel()}) {
    for (int corner = 0; corner < 1 << options.dimensions.size(); ++corner) {
      const bo_driver::Point point = AtCorner(domain, bits, corner);
      if (options.feasible(domain.Architecture(point), domain.Values(point))) return true;
    }
  }
  return false;
}

std::string Describe(const Limits& limits) {
  std::string text;
  if (limits.bytes > 0) text = StrCat("--trial_memory_gib=", limits.bytes / kGib);
  if (limits.flops <= 0) return text;
  return StrCat(text, text.empty() ? "" : " and ", "--trial_tflop=", limits.flops / kTera);
}

}  // namespace

absl::Status LimitTrials(const Materials& materials, bo_driver::StudyOptions* options) {
  const Limits limits{FLAGS_trial_memory_gib * kGib, FLAGS_trial_tflop * kTera};
  if (limits.bytes <= 0 && limits.flops <= 0) return absl::OkStatus();
  MIXREC_RETURN_IF_ERROR(bo_driver::DriverOptionsOf(*options).status());  // the space makes sense
  options->feasible = [memory = MemoryInputsOf(materials), work = TrialWorkInputsOf(materials),
                       limits](const std::string& architecture,
                               const std::map<std::string, int64_t>& values) mutable {
    memory.options = work.options = OptionsOf(work.options, architecture, values);
    return (limits.bytes <= 0 ||
            static_cast<double>(worker::EstimateMemory(memory).total()) <= limits.bytes) &&
           (limits.flops <= 0 || worker::EstimateWork(work).total() <= limits.flops);
  };
  if (IsAnyFeasible(*options)) return absl::OkStatus();
  return UsageError("no trial is within ", Describe(limits), "; --dry_run prints what one takes");
}

}  // namespace mixrec::launch
