#include "bo_driver/virtual_run.h"

#include <algorithm>
#include <ctime>
#include <utility>
#include <vector>

namespace mixrec::bo_driver {
namespace {

// CPU time of this process: other users of the machine do not count.
double CpuSeconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

struct Running {
  double ends = 0;
  Suggestion suggestion;
};

}  // namespace

VirtualRunResult RunVirtually(const Problem& problem, const VirtualRunOptions& options) {
  DriverOptions driver_options;
  driver_options.method = options.method;
  driver_options.seed = options.seed;
  driver_options.budget = options.evaluations;
  driver_options.groups = options.groups;
  Driver driver(problem.space, driver_options);

  VirtualRunResult result;
  std::vector<Running> running;
  double now = 0, seconds = 0;
  int started = 0, completed = 0;
  const auto start = [&] {
    const double before = CpuSeconds();
    std::optional<Suggestion> suggestion = driver.Ask();
    const double spent = CpuSeconds() - before;
    if (!suggestion) return false;
    seconds += spent;
    result.slowest_ask_seconds = std::max(result.slowest_ask_seconds, spent);
    const double length = VirtualDuration(options.seed, static_cast<uint64_t>(started++));
    running.push_back({now + length, std::move(*suggestion)});
    return true;
  };
  while (completed < options.evaluations) {
    while (static_cast<int>(running.size()) < options.groups && started < options.evaluations) {
      if (!start()) break;
    }
    if (running.empty()) break;
    const auto first =
        std::min_element(running.begin(), running.end(), [](const Running& a, const Running& b) {
          return a.ends != b.ends ? a.ends < b.ends : a.suggestion.number < b.suggestion.number;
        });
    const Running done = *first;
    running.erase(first);
    now = done.ends;
    const double noise = ObservationNoise(options.seed, static_cast<uint64_t>(completed++));
    const double value = problem.value(done.suggestion.point);
    const double observed = value + problem.noise * noise;
    driver.Tell(done.suggestion.number, observed);
    if (result.curve.empty() || observed > result.observed) {
      result.incumbent = done.suggestion.point;
      result.observed = observed;
      result.value = value;
    }
    result.curve.push_back(result.value);
  }
  result.ask_seconds = started > 0 ? seconds / started : 0;
  return result;
}

}  // namespace mixrec::bo_driver
