#include "bo_driver/model_suggestion.h"

#include <algorithm>
#include <numeric>
#include <set>
#include <utility>
#include <vector>

#include "bo_driver/reparameterization.h"

namespace mixrec::bo_driver {
namespace {

constexpr size_t kPromising = 5;
constexpr size_t kBatch = 4096;  // points whose acquisition is computed at once

// The evaluated points with the best posterior means, best first.
std::vector<Point> Promising(const History& history, const Surrogate& surrogate) {
  std::vector<Point> points;
  for (const Evaluation& evaluation : history.Evaluations()) points.push_back(evaluation.point);
  const Eigen::VectorXd means = surrogate.process().Predict(points).mean;
  std::vector<size_t> order(points.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return means[static_cast<Eigen::Index>(a)] > means[static_cast<Eigen::Index>(b)];
  });
  std::vector<Point> promising;
  for (size_t i = 0; i < std::min(kPromising, order.size()); ++i) {
    promising.push_back(points[order[i]]);
  }
  return promising;
}

// A surrogate that calls much of what it has seen noise, and predicts little of it, knows nothing
// of points far away. Of the standardised values; chosen in docs/search.md.
constexpr double kMuchNoise = 0.06, kLittleExplained = 0.6;

bool KnowsOnlyTheNeighbourhood(const GaussianProcess& process) {
  return process.noise_variance() >= kMuchNoise && process.leave_one_out().r2 < kLittleExplained;
}

// The open points that differ from `centre` in one or two dimensions, each once, sorted.
std::vector<Point> OpenPointsNear(const History& history, const Point& centre) {
  const SearchSpace& space = history.space();
  std::set<Point> open;
  const auto add = [&](Point point) {
    point = space.Canonical(std::move(point));
    if (history.IsOpen(point)) open.insert(std::move(point));
  };
  for (const Point& neighbour : space.Neighbours(centre)) {
    add(neighbour);
    for (Point& second : space.Neighbours(neighbour)) add(std::move(second));
  }
  return {open.begin(), open.end()};
}

Candidate BestOf(const LogExpectedImprovement& acquisition, const std::vector<Point>& points) {
  Candidate best;
  for (size_t begin = 0; begin < points.size(); begin += kBatch) {
    const size_t end = std::min(points.size(), begin + kBatch);
    const std::vector<Point> batch(points.begin() + static_cast<std::ptrdiff_t>(begin),
                                   points.begin() + static_cast<std::ptrdiff_t>(end));
    const Eigen::VectorXd values = acquisition(batch);
    Eigen::Index at = 0;
    const double value = values.maxCoeff(&at);
    if (value > best.acquisition) best = {batch[static_cast<size_t>(at)], value};
  }
  return best;
}

// The better of what the method's maximisers find in the whole space.
ModelSuggestion SuggestAnywhere(const History& history, const Surrogate& surrogate,
                                const LogExpectedImprovement& acquisition,
                                const DriverOptions& options) {
  const AcquisitionProblem problem{&history.space(),
                                   &acquisition,
                                   &history.taken(),
                                   Promising(history, surrogate),
                                   history.size() + static_cast<int>(options.prior.size()),
                                   history.feasible()};
  ModelSuggestion best{{}, "local"};
  if (options.method != Method::kPr) {
    best.candidate = LocalSearch(problem, ChoiceStream(options, "local", history));
  }
  if (options.method == Method::kLocal) return best;
  const Candidate other = Reparameterize(problem, ReparameterizationOptions{},
                                         ChoiceStream(options, "reparameterization", history));
  if (other.found() && other.acquisition >= best.candidate.acquisition - 1e-9) {
    best = {other, "pr"};
  }
  return best;
}

}  // namespace

RandomStream ChoiceStream(const DriverOptions& options, std::string_view purpose,
                          const History& history) {
  return RandomStream(HashKey(options.seed, purpose, static_cast<uint64_t>(history.size())));
}

ModelSuggestion SuggestByModel(const History& history, const Surrogate& surrogate,
                               const DriverOptions& options) {
  const LogExpectedImprovement acquisition(&surrogate.process(), surrogate.best());
  if (KnowsOnlyTheNeighbourhood(surrogate.process())) {
    const Point& best = history.entries()[static_cast<size_t>(history.BestNumber())].point;
    const Candidate near = BestOf(acquisition, OpenPointsNear(history, best));
    if (near.found()) return {near, "near"};
  }
  const ModelSuggestion best = SuggestAnywhere(history, surrogate, acquisition, options);
  if (best.candidate.found() || history.space().size() > kEnumerable) return best;
  return {BestOf(acquisition, history.OpenPoints()), "local"};
}

}  // namespace mixrec::bo_driver
