#include "bench/allreduce.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>
#include <vector>

namespace mixrec::bench {
namespace {

using Clock = std::chrono::steady_clock;
using Sum = std::function<absl::Status()>;

constexpr int64_t kSizes[] = {int64_t{4} << 10, int64_t{64} << 10, int64_t{1} << 20,
                              int64_t{16} << 20, int64_t{64} << 20};
constexpr int kWarmUps = 2, kFewest = 5, kMost = 2000;

double Since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Sums as often as rank 0 thinks it can in the time; the seconds of each.
class Measurement {
 public:
  Measurement(collective::Group* group, Sum ours, Sum theirs)
      : group_(group), ours_(std::move(ours)), theirs_(std::move(theirs)) {}

  absl::Status Run(double seconds) {
    const Clock::time_point start = Clock::now();
    for (int k = 0; k < kWarmUps; ++k) MIXREC_RETURN_IF_ERROR(Both());
    const double each = Since(start) / kWarmUps;
    const auto wanted = static_cast<int64_t>(std::ceil(2 * seconds / std::max(each, 1e-9)));
    at::Tensor count = at::full({1}, std::clamp<int64_t>(wanted, kFewest, kMost), at::kLong);
    MIXREC_RETURN_IF_ERROR(group_->Broadcast(count, 0, "the benchmark"));
    seconds_[0].clear();
    seconds_[1].clear();
    for (int64_t k = count.item<int64_t>(); k > 0; --k) MIXREC_RETURN_IF_ERROR(Both());
    return absl::OkStatus();
  }
  double ours() { return Median(&seconds_[0]); }
  double theirs() { return Median(&seconds_[1]); }

 private:
  // In turns, so that the machine's moods are shared.
  absl::Status Both() {
    int which = 0;
    for (const Sum* sum : {&ours_, &theirs_}) {
      MIXREC_RETURN_IF_ERROR(group_->Barrier("the benchmark"));
      const Clock::time_point start = Clock::now();
      MIXREC_RETURN_IF_ERROR((*sum)());
      seconds_[which++].push_back(Since(start));
    }
    return absl::OkStatus();
  }
  static double Median(std::vector<double>* values) {
    std::sort(values->begin(), values->end());
    return (*values)[values->size() / 2];
  }

  collective::Group* group_;
  const Sum ours_, theirs_;
  std::vector<double> seconds_[2];
};

}  // namespace

absl::Status PrintAllreduceBench(const AllreduceBenchOptions& options, std::ostream& out) {
  collective::Group* const group = options.group;
  for (const int64_t bytes : kSizes) {
    // Zeros: the sums of sums would grow without end.
    const at::Tensor here = at::zeros({bytes / 4}, at::kFloat);
    const at::Tensor there = here.to(options.device, /*non_blocking=*/false, /*copy=*/true);
    const auto ours = [&]() -> absl::Status {
      MIXREC_RETURN_IF_ERROR(group->AllReduce(there, "a sum"));
      if (there.is_cuda()) there.narrow(0, 0, 1).item<float>();  // the device has it
      return absl::OkStatus();
    };
    Measurement measurement(group, ours, [&] { return options.sum_by_mpi(here); });
    MIXREC_RETURN_IF_ERROR(measurement.Run(options.seconds));
    const double seconds = measurement.ours();
    const nlohmann::ordered_json line{{"bench", "allreduce"},
                                      {"device", options.device.is_cuda() ? "cuda" : "cpu"},
                                      {"ranks", group->size()},
                                      {"bytes", bytes},
                                      {"seconds", seconds},
                                      {"gb_per_s", static_cast<double>(bytes) / seconds / 1e9},
                                      {"mpi_seconds", measurement.theirs()},
                                      {"ratio_to_mpi", measurement.theirs() / seconds}};
    out << line.dump() << std::endl;
  }
  return absl::OkStatus();
}

}  // namespace mixrec::bench
