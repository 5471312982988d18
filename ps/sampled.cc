#include "ps/sampled.h"

#include <algorithm>
#include <cmath>

#include "common/log.h"
#include "common/random.h"

namespace mixrec::ps {
namespace {

int64_t DrawRow(bool log_uniform, int64_t rows, RandomStream* stream) {
  if (!log_uniform) return static_cast<int64_t>(stream->Below(static_cast<uint64_t>(rows)));
  const double size = std::log1p(static_cast<double>(rows));
  const auto row = static_cast<int64_t>(std::exp(stream->Uniform() * size)) - 1;
  return std::clamp<int64_t>(row, 0, rows - 1);
}

// log(1 - (1 - p)^count).
double LogExpected(bool log_uniform, int64_t rows, int64_t row, int64_t count) {
  const auto r = static_cast<double>(row), all = static_cast<double>(rows);
  const double p = log_uniform ? std::log1p(1.0 / (r + 1.0)) / std::log1p(all) : 1.0 / all;
  if (p >= 1.0) return 0.0;
  return std::log(-std::expm1(static_cast<double>(count) * std::log1p(-p)));
}

}  // namespace

absl::Status CheckSoftmax(const TableSpec& spec, const Sampling& sampling) {
  if (!spec.softmax() || spec.parts.size() != 2) {
    return UsageError("table ", spec.name,
                      " is no softmax table: that has contiguous rows, weights and a bias");
  }
  if (sampling.count < 0) return UsageError(sampling.count, " proposals for the softmax");
  if ((sampling.count == 0) != spec.dense) {
    return UsageError("table ", spec.name, " was made for the ", spec.dense ? "exact" : "sampled",
                      " softmax, and the ", spec.dense ? "sampled" : "exact", " one is asked for");
  }
  return absl::OkStatus();
}

Proposals DrawProposals(const TableSpec& spec, const Sampling& sampling, int64_t step,
                        int64_t first, int64_t count) {
  CHECK_GT(spec.rows, 0);
  RandomStream stream(
      HashKey(spec.seed, "softmax proposals", spec.name, static_cast<uint64_t>(step)));
  Proposals proposals;
  for (int64_t i = 0; i < sampling.count; ++i) {
    const int64_t row = DrawRow(sampling.log_uniform, spec.rows, &stream);
    if (row >= first && row < first + count) proposals.rows.push_back(row);
  }
  std::sort(proposals.rows.begin(), proposals.rows.end());
  proposals.rows.erase(std::unique(proposals.rows.begin(), proposals.rows.end()),
                       proposals.rows.end());
  for (const int64_t row : proposals.rows) {
    proposals.log_expected.push_back(
        static_cast<float>(LogExpected(sampling.log_uniform, spec.rows, row, sampling.count)));
  }
  return proposals;
}

}  // namespace mixrec::ps
