// What training runs wrote, for comparisons.
#pragma once

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "common/file.h"

namespace mixrec::worker {

// The loss of every record of a step in a run's metrics.jsonl.
inline std::vector<double> Losses(const std::string& run) {
  std::istringstream text(*ReadFile(run + "/metrics.jsonl"));
  std::vector<double> losses;
  for (std::string line; std::getline(text, line);) {
    const auto record = nlohmann::json::parse(line);
    if (record.contains("loss")) losses.push_back(record["loss"]);
  }
  return losses;
}

// Relative, of the loss of every step.
inline void ExpectEqualCurves(const std::string& a, const std::string& b, double tolerance = 1e-5) {
  const auto left = Losses(a), right = Losses(b);
  ASSERT_EQ(left.size(), right.size());
  for (size_t k = 0; k < left.size(); ++k) {
    EXPECT_NEAR(left[k], right[k], tolerance * left[k]) << "step " << k + 1;
  }
}

inline void ExpectClose(const std::vector<double>& a, const std::vector<double>& b,
                        double tolerance) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t k = 0; k < a.size(); ++k) EXPECT_NEAR(a[k], b[k], tolerance) << "step " << k + 1;
}

}  // namespace mixrec::worker
