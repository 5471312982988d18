#include "bench/ps_traffic.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

namespace mixrec::bench {
namespace {

using Json = nlohmann::json;

constexpr double kPatience = 60;  // seconds beyond those of the measurement

// The smallest value that `share` of the sorted values do not exceed.
double Quantile(const std::vector<double>& sorted, double share) {
  if (sorted.empty()) return 0;
  const double rank = std::ceil(share * static_cast<double>(sorted.size()));
  return sorted[static_cast<size_t>(std::max(rank - 1, 0.0))];
}

absl::StatusOr<Json> Hear(Child* child, const TrafficOptions& options) {
  MIXREC_ASSIGN_OR_RETURN(const std::string line, child->Listen(2 * options.seconds + kPatience));
  Json report = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!report.is_object()) return FailureError("a process of the benchmark failed: ", line);
  return report;
}

}  // namespace

std::string WorkerReport(const TrafficOptions& options, std::vector<double> latencies,
                         double seconds, double cpu_seconds, int64_t all) {
  std::sort(latencies.begin(), latencies.end());
  const double directions = options.traffic == Traffic::kPullPush ? 2 : 1;
  const double bytes = directions * 4 * static_cast<double>(options.rows * options.width);
  const Json report = {{"requests", latencies.size()},
                       {"gb_per_s", bytes * static_cast<double>(latencies.size()) / seconds / 1e9},
                       {"p50_us", Quantile(latencies, 0.5)},
                       {"p99_us", Quantile(latencies, 0.99)},
                       {"cpu_seconds", cpu_seconds},
                       {"all", all}};
  return report.dump();
}

std::string ServerReport(double cpu_seconds) { return Json({{"cpu_seconds", cpu_seconds}}).dump(); }

absl::StatusOr<TrafficResult> Collect(const TrafficOptions& options,
                                      const std::vector<std::unique_ptr<Child>>& workers,
                                      const std::vector<std::unique_ptr<Child>>& servers) {
  TrafficResult result;
  double cpu = 0, all = 0;
  for (const auto& worker : workers) {
    MIXREC_ASSIGN_OR_RETURN(const Json report, Hear(worker.get(), options));
    result.requests += report.value("requests", int64_t{0});
    result.gb_per_s += report.value("gb_per_s", 0.0);
    result.p50_us = std::max(result.p50_us, report.value("p50_us", 0.0));
    result.p99_us = std::max(result.p99_us, report.value("p99_us", 0.0));
    cpu += report.value("cpu_seconds", 0.0);
    all += report.value("all", 0.0);
  }
  for (const auto& server : servers) {
    MIXREC_ASSIGN_OR_RETURN(const Json report, Hear(server.get(), options));
    cpu += report.value("cpu_seconds", 0.0);
  }
  if (result.requests == 0) return FailureError("the benchmark made no request in its time");
  result.cpu_us = 1e6 * cpu / all;
  result.all_requests = static_cast<int64_t>(all);
  return result;
}

}  // namespace mixrec::bench
