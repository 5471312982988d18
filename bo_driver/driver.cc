#include "bo_driver/driver.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <utility>

#include "bo_driver/acquisition.h"
#include "bo_driver/reparameterization.h"
#include "bo_driver/surrogate.h"
#include "common/log.h"

namespace mixrec::bo_driver {
namespace {

constexpr int kDefaultInitial = 10;
constexpr size_t kPromising = 5;
constexpr double kEnumerable =
    1 << 20;  // spaces up to this size are enumerated when nearly used up

struct NamedMethod {
  Method method;
  std::string_view name;
};
constexpr NamedMethod kMethods[] = {{Method::kAuto, "auto"},
                                    {Method::kPr, "pr"},
                                    {Method::kLocal, "local"},
                                    {Method::kClimb, "climb"},
                                    {Method::kRandom, "random"}};

constexpr size_t kPriorPoints = 3;      // the best of an earlier study, tried first
constexpr int kMostAttempts = 1 << 20;  // at a random point of a space too large to be enumerated

// The first points of every study, without repetitions.
std::vector<Point> Baselines(const SearchSpace& space, const DriverOptions& options) {
  std::vector<Point> wanted;
  if (options.serial_and_parallel) wanted = {space.AllSerial(), space.AllParallel()};
  wanted.insert(wanted.end(), options.baselines.begin(), options.baselines.end());
  std::vector<Point> baselines;
  for (Point& point : wanted) {
    CHECK(space.Contains(point)) << "a baseline lies outside the search space";
    point = space.Canonical(std::move(point));
    if (options.feasible && !options.feasible(point)) continue;
    if (std::find(baselines.begin(), baselines.end(), point) == baselines.end()) {
      baselines.push_back(std::move(point));
    }
  }
  return baselines;
}

}  // namespace

absl::StatusOr<Method> ParseMethod(std::string_view name) {
  for (const NamedMethod& known : kMethods) {
    if (known.name == name) return known.method;
  }
  return UsageError("unknown search method \"", name,
                    "\": expected auto, pr, local, climb or random");
}

std::string_view MethodName(Method method) {
  for (const NamedMethod& known : kMethods) {
    if (known.method == method) return known.name;
  }
  return "?";
}

namespace {

// The best points of an earlier study that are not among `baselines`.
std::vector<Point> BestOfPrior(const SearchSpace& space, const DriverOptions& options,
                               const std::vector<Point>& baselines) {
  std::vector<PriorEvaluation> prior = options.prior;
  std::stable_sort(prior.begin(), prior.end(),
                   [](const PriorEvaluation& a, const PriorEvaluation& b) {
                     return a.standardised > b.standardised;
                   });
  std::vector<Point> best;
  for (const PriorEvaluation& evaluation : prior) {
    const Point point = space.Canonical(evaluation.point);
    if (best.size() == kPriorPoints) break;
    if (options.feasible && !options.feasible(point)) continue;
    const bool known = std::count(baselines.begin(), baselines.end(), point) > 0 ||
                       std::count(best.begin(), best.end(), point) > 0;
    if (!known) best.push_back(point);
  }
  return best;
}

}  // namespace

int InitialPoints(const SearchSpace& space, const DriverOptions& options) {
  int points = options.initial;
  if (points <= 0) {
    points = options.method == Method::kClimb    ? 3
             : options.method == Method::kRandom ? 1
             : options.budget < 30               ? (options.budget + 2) / 3
                                                 : kDefaultInitial;
  }
  const std::vector<Point> baselines = Baselines(space, options);
  const size_t first = baselines.size() + BestOfPrior(space, options, baselines).size();
  if (!options.prior.empty() && options.initial <= 0) points = static_cast<int>(first);
  return std::max({points, options.groups, 2, static_cast<int>(first)});
}

struct Driver::State {
  enum class Status { kPending, kDone, kFailed };
  struct Entry {
    Point point;
    Status status = Status::kPending;
    double value = std::numeric_limits<double>::quiet_NaN();
  };

  State(SearchSpace search_space, DriverOptions driver_options)
      : space(std::move(search_space)),
        options(std::move(driver_options)),
        baselines(Baselines(space, options)),
        initial(InitialPoints(space, options)),
        surrogate(space, options.prior) {
    const std::vector<Point> prior = BestOfPrior(space, options, baselines);
    own_baselines = baselines.size();
    baselines.insert(baselines.end(), prior.begin(), prior.end());
  }

  SearchSpace space;
  DriverOptions options;
  std::vector<Point> baselines;  // the first points; from own_baselines on, of an earlier study
  size_t own_baselines = 0;
  int initial;
  std::vector<Entry> entries;  // by number
  std::set<Point> taken;
  Surrogate surrogate;
  bool stale = true;  // results came in since the surrogate was fitted

  RandomStream Stream(std::string_view purpose) const {
    return RandomStream(HashKey(options.seed, purpose, static_cast<uint64_t>(entries.size())));
  }
  bool IsOpen(const Point& canonical) const {
    return taken.count(canonical) == 0 && (!options.feasible || options.feasible(canonical));
  }
  bool exhausted() const {
    if (static_cast<double>(taken.size()) >= space.size()) return true;
    const bool plain = !space.canonical && !options.feasible;
    return !plain && space.size() <= kEnumerable && Untaken().empty();
  }
  bool uses_model() const {
    return options.method != Method::kClimb && options.method != Method::kRandom;
  }
  int successes() const {
    return static_cast<int>(std::count_if(entries.begin(), entries.end(), [](const Entry& entry) {
      return entry.status == Status::kDone;
    }));
  }
  bool model_wanted() const {
    return uses_model() && static_cast<int>(entries.size()) >= initial && successes() >= 2;
  }

  std::vector<Evaluation> Evaluations() const {
    std::vector<Evaluation> evaluations;
    for (const Entry& entry : entries) {
      if (entry.status == Status::kDone) evaluations.push_back({entry.point, entry.value});
      if (entry.status == Status::kFailed) evaluations.push_back({entry.point, std::nullopt});
    }
    return evaluations;
  }

  // What every Ask does before it chooses, and Replay too: the fits' warm starts are history.
  void RefitIfStale() {
    if (!model_wanted() || !stale) return;
    surrogate.Fit(Evaluations());
    stale = false;
  }

  // The surrogate fitted to everything known, without touching the history of fits.
  std::optional<Surrogate> Fitted() const {
    if (!model_wanted()) return std::nullopt;
    Surrogate copy = surrogate;
    if (stale) copy.Fit(Evaluations());
    if (!copy.process().fitted()) return std::nullopt;
    return copy;
  }

  // CHECKs that there is one.
  Point UntakenRandom(RandomStream stream) const {
    const int attempts = space.size() > kEnumerable ? kMostAttempts : 1000;
    for (int attempt = 0; attempt < attempts; ++attempt) {
      Point point = space.Canonical(space.Random(stream));
      if (IsOpen(point)) return point;
    }
    CHECK(space.size() <= kEnumerable) << "hardly any point of the search space is feasible";
    const std::vector<Point> left = Untaken();
    return left[stream.Below(left.size())];
  }

  // Every untaken point of a small space, in lexicographic order.
  std::vector<Point> Untaken() const {
    std::vector<Point> untaken;
    Point point = space.AllSerial();
    for (int i = 0; i >= 0;) {
      if (space.Canonical(point) == point && IsOpen(point)) untaken.push_back(point);
      for (i = space.dimensions() - 1; i >= 0; --i) {
        uint8_t& level = point[static_cast<size_t>(i)];
        if (++level < space.levels(i)) break;
        level = 0;
      }
    }
    return untaken;
  }

  const Entry* BestEntry() const {
    const Entry* best = nullptr;
    for (const Entry& entry : entries) {
      if (entry.status == Status::kDone && (best == nullptr || entry.value > best->value)) {
        best = &entry;
      }
    }
    return best;
  }

  Suggestion Initial() const {
    const size_t number = entries.size();
    if (number < baselines.size() && taken.count(baselines[number]) == 0) {
      return {static_cast<int>(number), baselines[number],
              number < own_baselines ? "baseline" : "prior"};
    }
    return {static_cast<int>(number), UntakenRandom(Stream("initial")), "random"};
  }

  // A random untaken neighbour of the best point; from a local optimum, a jump of three changes.
  Suggestion HillClimb() const {
    const int number = static_cast<int>(entries.size());
    RandomStream stream = Stream("climb");
    const Entry* best = BestEntry();
    if (best == nullptr) return {number, UntakenRandom(stream), "random"};
    std::vector<Point> neighbours = space.Neighbours(best->point);
    for (Point& point : neighbours) point = space.Canonical(std::move(point));
    neighbours.erase(std::remove_if(neighbours.begin(), neighbours.end(),
                                    [&](const Point& point) { return !IsOpen(point); }),
                     neighbours.end());
    if (!neighbours.empty()) {
      return {number, neighbours[stream.Below(neighbours.size())], "climb"};
    }
    for (int attempt = 0; attempt < 100; ++attempt) {
      Point jump = best->point;
      for (int change = 0; change < 3; ++change) {
        std::vector<Point> next = space.Neighbours(jump);
        jump = next[stream.Below(next.size())];
      }
      jump = space.Canonical(std::move(jump));
      if (IsOpen(jump)) return {number, jump, "climb"};
    }
    return {number, UntakenRandom(stream), "random"};
  }

  AcquisitionProblem Problem(const LogExpectedImprovement& acquisition) const {
    AcquisitionProblem problem{&space,
                               &acquisition,
                               &taken,
                               {},
                               static_cast<int>(entries.size() + options.prior.size()),
                               options.feasible};
    std::vector<Point> points;
    for (const Evaluation& evaluation : Evaluations()) points.push_back(evaluation.point);
    const Eigen::VectorXd means = surrogate.process().Predict(points).mean;
    std::vector<size_t> order(points.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      return means[static_cast<Eigen::Index>(a)] > means[static_cast<Eigen::Index>(b)];
    });
    for (size_t i = 0; i < std::min(kPromising, order.size()); ++i) {
      problem.promising.push_back(points[order[i]]);
    }
    return problem;
  }

  Suggestion ByModel() {
    std::vector<Point> pending;
    for (const Entry& entry : entries) {
      if (entry.status == Status::kPending) pending.push_back(entry.point);
    }
    surrogate.Believe(pending);
    const LogExpectedImprovement acquisition(&surrogate.process(), surrogate.best());
    const AcquisitionProblem problem = Problem(acquisition);
    Candidate best;
    std::string source = "local";
    if (options.method != Method::kPr) best = LocalSearch(problem, Stream("local"));
    if (options.method != Method::kLocal) {
      const Candidate other =
          Reparameterize(problem, ReparameterizationOptions{}, Stream("reparameterization"));
      if (other.found() && other.acquisition >= best.acquisition - 1e-9) {
        best = other;
        source = "pr";
      }
    }
    if (!best.found() && space.size() <= kEnumerable) best = BestOf(acquisition, Untaken());
    const int number = static_cast<int>(entries.size());
    if (!best.found()) return {number, UntakenRandom(Stream("fallback")), "random"};
    return {number, space.Canonical(best.point), source, best.acquisition};
  }

  static Candidate BestOf(const LogExpectedImprovement& acquisition,
                          const std::vector<Point>& points) {
    Candidate best;
    constexpr size_t kBatch = 4096;
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

  Suggestion Choose() {
    if (entries.size() < baselines.size()) return Initial();
    if (options.method == Method::kRandom) return Initial();
    if (static_cast<int>(entries.size()) < initial) return Initial();
    if (options.method == Method::kClimb) return HillClimb();
    if (!model_wanted() || !surrogate.process().fitted()) return Initial();
    return ByModel();
  }

  void Take(const Suggestion& suggestion) {
    CHECK_EQ(suggestion.number, static_cast<int>(entries.size())) << "numbers are consecutive";
    CHECK(space.Contains(suggestion.point)) << "a suggestion lies outside the search space";
    entries.push_back({suggestion.point});
    taken.insert(space.Canonical(suggestion.point));
  }

  Entry& Pending(int number) {
    CHECK(number >= 0 && number < static_cast<int>(entries.size())) << "no suggestion " << number;
    Entry& entry = entries[static_cast<size_t>(number)];
    CHECK(entry.status == Status::kPending) << "suggestion " << number << " has a result already";
    return entry;
  }
};

Driver::Driver(SearchSpace space, DriverOptions options)
    : state_(std::make_unique<State>(std::move(space), std::move(options))) {}
Driver::Driver(Driver&&) noexcept = default;
Driver& Driver::operator=(Driver&&) noexcept = default;
Driver::~Driver() = default;

std::optional<Suggestion> Driver::Ask() {
  if (state_->exhausted()) return std::nullopt;
  state_->RefitIfStale();
  Suggestion suggestion = state_->Choose();
  state_->Take(suggestion);
  return suggestion;
}

void Driver::Replay(const Suggestion& suggestion) {
  state_->RefitIfStale();
  state_->Take(suggestion);
}

void Driver::Tell(int number, double value) {
  CHECK(std::isfinite(value)) << "the value of a suggestion must be finite";
  State::Entry& entry = state_->Pending(number);
  entry.status = State::Status::kDone;
  entry.value = value;
  state_->stale = true;
}

void Driver::TellFailure(int number) {
  state_->Pending(number).status = State::Status::kFailed;
  state_->stale = true;
}

Incumbent Driver::BestObserved() const {
  const State::Entry* best = state_->BestEntry();
  Incumbent incumbent;
  if (best == nullptr) return incumbent;
  incumbent.number = static_cast<int>(best - state_->entries.data());
  incumbent.point = best->point;
  incumbent.value = best->value;
  if (const std::optional<Surrogate> model = state_->Fitted()) {
    incumbent.mean = model->ToValue(model->process().Predict({best->point}).mean[0]);
  }
  return incumbent;
}

Incumbent Driver::BestByMean() const {
  const std::optional<Surrogate> model = state_->Fitted();
  if (!model) return BestObserved();
  Incumbent incumbent;
  for (size_t number = 0; number < state_->entries.size(); ++number) {
    const State::Entry& entry = state_->entries[number];
    if (entry.status != State::Status::kDone) continue;
    const double mean = model->ToValue(model->process().Predict({entry.point}).mean[0]);
    if (incumbent.number >= 0 && mean <= incumbent.mean) continue;
    incumbent = {static_cast<int>(number), entry.point, entry.value, mean};
  }
  return incumbent;
}

ModelSummary Driver::Summary() const {
  const std::optional<Surrogate> model = state_->Fitted();
  if (!model) return {};
  const GaussianProcess& process = model->process();
  return {true, process.kernel().kind() == KernelKind::kWindows ? "windows" : "hamming",
          process.noise_variance(), process.leave_one_out().r2};
}

std::vector<BitEffect> Driver::BitEffects() const {
  const std::optional<Surrogate> model = state_->Fitted();
  std::vector<BitEffect> effects;
  if (!model) return effects;
  const std::vector<Evaluation> evaluations = state_->Evaluations();
  for (int bit = 0; bit < state_->space.bits; ++bit) {
    std::vector<Point> one, zero;
    for (const Evaluation& evaluation : evaluations) {
      one.push_back(evaluation.point);
      zero.push_back(evaluation.point);
      one.back()[static_cast<size_t>(bit)] = 1;
      zero.back()[static_cast<size_t>(bit)] = 0;
    }
    double mean = 0, variance = 0;
    model->process().PredictDifference(one, zero, &mean, &variance);
    effects.push_back({mean * model->deviation(), std::sqrt(variance) * model->deviation()});
  }
  return effects;
}

bool Driver::exhausted() const { return state_->exhausted(); }
const SearchSpace& Driver::space() const { return state_->space; }
int Driver::initial_points() const { return state_->initial; }

}  // namespace mixrec::bo_driver
