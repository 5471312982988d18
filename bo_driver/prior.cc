#include "bo_driver/prior.h"

#include <algorithm>
#include <cmath>

namespace mixrec::bo_driver {
namespace {

using nlohmann::json;
using scheduler::TrialRecord;

constexpr char kBits[] = "architecture";

uint8_t NearestLevel(const Ordinal& ordinal, double value) {
  size_t nearest = 0;
  for (size_t level = 1; level < ordinal.values.size(); ++level) {
    if (std::abs(ordinal.values[level] - value) < std::abs(ordinal.values[nearest] - value)) {
      nearest = level;
    }
  }
  return static_cast<uint8_t>(nearest);
}

// Points of equal meaning in the new space share one value, their mean.
std::vector<PriorEvaluation> Merged(std::vector<PriorEvaluation> all) {
  std::stable_sort(all.begin(), all.end(), [](const PriorEvaluation& a, const PriorEvaluation& b) {
    return a.point < b.point;
  });
  std::vector<PriorEvaluation> merged;
  for (size_t begin = 0; begin < all.size();) {
    size_t end = begin;
    double sum = 0;
    while (end < all.size() && all[end].point == all[begin].point) sum += all[end++].standardised;
    merged.push_back({all[begin].point, sum / static_cast<double>(end - begin)});
    begin = end;
  }
  return merged;
}

void Standardise(std::vector<PriorEvaluation>* prior) {
  double mean = 0, squares = 0;
  const double n = static_cast<double>(prior->size());
  for (const PriorEvaluation& one : *prior) mean += one.standardised / n;
  for (const PriorEvaluation& one : *prior) {
    squares += (one.standardised - mean) * (one.standardised - mean) / n;
  }
  const double deviation = squares > 0 ? std::sqrt(squares) : 1;
  for (PriorEvaluation& one : *prior) one.standardised = (one.standardised - mean) / deviation;
}

}  // namespace

std::string MapLayers(const std::string& bits, int bits_per_layer, int layers) {
  const int before = static_cast<int>(bits.size()) / bits_per_layer;
  std::string mapped;
  for (int layer = 0; layer < layers; ++layer) {
    const int from = static_cast<int>((layer + 0.5) * before / layers);
    mapped += bits.substr(static_cast<size_t>(from * bits_per_layer),
                          static_cast<size_t>(bits_per_layer));
  }
  return mapped;
}

absl::StatusOr<std::vector<PriorEvaluation>> PriorOf(
    const scheduler::StudyRecord& study, const SearchSpace& space,
    const std::map<std::string, double>& defaults) {
  std::vector<PriorEvaluation> prior;
  for (const TrialRecord* trial : study.Ranked()) {
    const std::string bits = trial->Text(kBits);
    if (bits.empty() || bits.size() % static_cast<size_t>(space.bits_per_layer) != 0) continue;
    Point point = space.AllSerial();
    const std::string mapped = MapLayers(bits, space.bits_per_layer, space.layers());
    for (size_t i = 0; i < mapped.size(); ++i) point[i] = mapped[i] == '1' ? 1 : 0;
    for (size_t i = 0; i < space.ordinals.size(); ++i) {
      const Ordinal& ordinal = space.ordinals[i];
      const auto fallback = defaults.find(ordinal.name);
      const double value =
          trial->Number(ordinal.name)
              .value_or(fallback == defaults.end() ? ordinal.values.front() : fallback->second);
      point[static_cast<size_t>(space.bits) + i] = NearestLevel(ordinal, value);
    }
    prior.push_back({space.Canonical(std::move(point)), *trial->value});
  }
  if (prior.size() < 2) {
    return DataError("the earlier study has ", prior.size(),
                     " complete trials with an architecture; a warm start needs two");
  }
  Standardise(&prior);
  return Merged(std::move(prior));
}

json PriorToJson(const SearchSpace& space, const std::vector<PriorEvaluation>& prior) {
  json list = json::array();
  for (const PriorEvaluation& one : prior) {
    list.push_back({{"point", space.Text(one.point)}, {"value", one.standardised}});
  }
  return list;
}

absl::StatusOr<std::vector<PriorEvaluation>> PriorFromJson(const SearchSpace& space,
                                                           const json& list) {
  std::vector<PriorEvaluation> prior;
  try {
    for (const json& entry : list) {
      MIXREC_ASSIGN_OR_RETURN(Point point, space.Parse(entry.at("point").get<std::string>()));
      prior.push_back({std::move(point), entry.at("value").get<double>()});
    }
  } catch (const json::exception& error) {
    return DataError("the study's attribute \"prior\" is damaged: ", error.what());
  }
  return prior;
}

}  // namespace mixrec::bo_driver
