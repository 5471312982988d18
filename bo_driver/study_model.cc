#include "bo_driver/study_model.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "bo_driver/study_definition.h"
#include "bo_driver/surrogate.h"

namespace mixrec::bo_driver {
namespace {

using scheduler::StudyRecord;
using scheduler::TrialRecord;
using scheduler::TrialState;

constexpr size_t kFewestResults = 4;
// Points over which effects and interactions are averaged; more cost time and change little.
constexpr size_t kEffectPoints = 64, kInteractionPoints = 8;
constexpr size_t kStrongest = 12;

struct Results {
  SearchSpace space;
  std::vector<PriorEvaluation> prior;
  std::vector<Evaluation> evaluations;
  std::vector<int> numbers;  // trials of the evaluations
  size_t complete = 0;
};

// Empty when a trial is no point of the study's space.
Results ResultsOf(const StudyRecord& study) {
  Results results;
  const absl::StatusOr<ArchitectureDomain> domain = StoredDomain(study);
  if (!domain.ok()) return results;
  results.space = domain->space();
  const auto prior = study.attributes.find(kPriorAttribute);
  if (prior != study.attributes.end()) {
    auto evaluations = PriorFromJson(results.space, prior->second);
    if (!evaluations.ok()) return results;
    results.prior = *std::move(evaluations);
  }
  for (const TrialRecord& trial : study.trials) {
    if (!trial.finished()) continue;
    const bool counts = trial.value.has_value() && std::isfinite(*trial.value);
    if (!counts && trial.state != TrialState::kFailed) continue;
    const auto point = PointOf(*domain, trial);
    if (!point.ok()) return {};
    results.evaluations.push_back({*point, counts ? trial.value : std::nullopt});
    results.numbers.push_back(trial.number);
    results.complete += counts;
  }
  return results;
}

// `count` of the points, evenly from the best to the worst; the best ones only when `best`.
std::vector<Point> SomePoints(const Results& results, size_t count, bool best) {
  std::vector<const Evaluation*> ranked;
  for (const Evaluation& evaluation : results.evaluations) {
    if (evaluation.value) ranked.push_back(&evaluation);
  }
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const Evaluation* a, const Evaluation* b) { return *a->value > *b->value; });
  count = std::min(count, ranked.size());
  std::vector<Point> points;
  for (size_t i = 0; i < count; ++i) {
    points.push_back(ranked[best ? i : i * ranked.size() / count]->point);
  }
  return points;
}

std::vector<Point> With(std::vector<Point> points, int bit, uint8_t level) {
  for (Point& point : points) point[static_cast<size_t>(bit)] = level;
  return points;
}

std::vector<Point> Joined(std::vector<Point> points, const std::vector<Point>& more) {
  points.insert(points.end(), more.begin(), more.end());
  return points;
}

std::vector<BitEffect> EffectsOf(const Results& results, const Surrogate& surrogate) {
  const std::vector<Point> points = SomePoints(results, kEffectPoints, /*best=*/false);
  std::vector<BitEffect> effects;
  for (int bit = 0; bit < results.space.bits; ++bit) {
    double mean = 0, variance = 0;
    surrogate.process().PredictDifference(With(points, bit, 1), With(points, bit, 0), &mean,
                                          &variance);
    effects.push_back({mean * surrogate.deviation(), std::sqrt(variance) * surrogate.deviation()});
  }
  return effects;
}

std::vector<Interaction> InteractionsOf(const Results& results, const Surrogate& surrogate) {
  const std::vector<Point> points = SomePoints(results, kInteractionPoints, /*best=*/true);
  std::vector<Interaction> all;
  for (int first = 0; first < results.space.bits; ++first) {
    const std::vector<Point> with = With(points, first, 1), without = With(points, first, 0);
    for (int second = first + 1; second < results.space.bits; ++second) {
      double mean = 0, variance = 0;
      surrogate.process().PredictDifference(Joined(With(with, second, 1), With(without, second, 0)),
                                            Joined(With(with, second, 0), With(without, second, 1)),
                                            &mean, &variance);
      // The averages are over twice as many points as there are differences.
      all.push_back({first, second, 2 * mean * surrogate.deviation(),
                     2 * std::sqrt(variance) * surrogate.deviation()});
    }
  }
  std::stable_sort(all.begin(), all.end(), [](const Interaction& a, const Interaction& b) {
    return std::abs(a.mean) > std::abs(b.mean);
  });
  all.resize(std::min(all.size(), kStrongest));
  return all;
}

std::vector<LeftOut> LeftOutOf(const Results& results, const Surrogate& surrogate) {
  const LeaveOneOut& scores = surrogate.process().leave_one_out();
  std::vector<LeftOut> left_out;
  for (size_t i = 0; i < results.evaluations.size(); ++i) {
    if (!results.evaluations[i].value) continue;
    const Eigen::Index at = static_cast<Eigen::Index>(i);
    left_out.push_back({results.numbers[i], *results.evaluations[i].value,
                        surrogate.ToValue(scores.mean[at]),
                        std::sqrt(scores.variance[at]) * surrogate.deviation()});
  }
  return left_out;
}

}  // namespace

StudyModel ModelOf(const StudyRecord& study) {
  StudyModel model;
  const Results results = ResultsOf(study);
  if (results.complete < kFewestResults) return model;
  Surrogate surrogate(results.space, results.prior);
  if (!surrogate.Fit(results.evaluations)) return model;
  const GaussianProcess& process = surrogate.process();
  model.summary = {true, process.kernel().kind() == KernelKind::kWindows ? "windows" : "hamming",
                   process.noise_variance(), process.leave_one_out().r2};
  model.effects = EffectsOf(results, surrogate);
  model.interactions = InteractionsOf(results, surrogate);
  model.left_out = LeftOutOf(results, surrogate);
  return model;
}

}  // namespace mixrec::bo_driver
