#include "bo_driver/driver.h"

#include <cmath>
#include <utility>

#include "bo_driver/driver_state.h"
#include "bo_driver/hill_climb.h"
#include "bo_driver/model_suggestion.h"
#include "common/log.h"

namespace mixrec::bo_driver {

Driver::State::State(SearchSpace space, DriverOptions driver_options)
    : options(std::move(driver_options)),
      known(KnownPoints(space, options)),
      initial(InitialPoints(space, options)),
      history(space, options.feasible),
      surrogate(space, options.prior) {}

bool Driver::State::model_wanted() const {
  if (options.method == Method::kClimb || options.method == Method::kRandom) return false;
  return history.size() >= initial && history.successes() >= 2;
}

void Driver::State::RefitIfStale() {
  if (!model_wanted() || !stale) return;
  surrogate.Fit(history.Evaluations());
  stale = false;
}

std::optional<Surrogate> Driver::State::Fitted() const {
  if (!model_wanted()) return std::nullopt;
  Surrogate copy = surrogate;
  if (stale) copy.Fit(history.Evaluations());
  if (!copy.process().fitted()) return std::nullopt;
  return copy;
}

Suggestion Driver::State::Choose() {
  if (history.size() < static_cast<int>(known.size())) return Initial();
  if (history.size() < initial) return Initial();
  if (options.method == Method::kRandom) return Initial();
  if (options.method == Method::kClimb) return Climb();
  if (!model_wanted() || !surrogate.process().fitted()) return Initial();
  return ByModel();
}

Suggestion Driver::State::Initial() const {
  const size_t number = static_cast<size_t>(history.size());
  if (number < known.size() && history.taken().count(known[number].point) == 0) {
    return {history.size(), known[number].point, known[number].source};
  }
  return Random("initial");
}

Suggestion Driver::State::Random(std::string_view purpose) const {
  return {history.size(), history.RandomOpenPoint(ChoiceStream(options, purpose, history)),
          "random"};
}

Suggestion Driver::State::Climb() const {
  std::optional<Point> point = HillClimb(history, ChoiceStream(options, "climb", history));
  if (!point) return Random("climb");
  return {history.size(), *std::move(point), "climb"};
}

Suggestion Driver::State::ByModel() {
  surrogate.Believe(history.Pending());
  const ModelSuggestion best = SuggestByModel(history, surrogate, options);
  if (!best.candidate.found()) return Random("fallback");
  return {history.size(), history.space().Canonical(best.candidate.point), best.source,
          best.candidate.acquisition};
}

Driver::Driver(SearchSpace space, DriverOptions options)
    : state_(std::make_unique<State>(std::move(space), std::move(options))) {}
Driver::Driver(Driver&&) noexcept = default;
Driver& Driver::operator=(Driver&&) noexcept = default;
Driver::~Driver() = default;

std::optional<Suggestion> Driver::Ask() {
  if (exhausted()) return std::nullopt;
  state_->RefitIfStale();
  Suggestion suggestion = state_->Choose();
  state_->history.Add(suggestion.point);
  return suggestion;
}

void Driver::Replay(const Suggestion& suggestion) {
  CHECK_EQ(suggestion.number, state_->history.size()) << "numbers are consecutive";
  state_->RefitIfStale();
  state_->history.Add(suggestion.point);
}

void Driver::Tell(int number, double value) {
  CHECK(std::isfinite(value)) << "the value of a suggestion must be finite";
  state_->history.Tell(number, value);
  state_->stale = true;
}

void Driver::TellFailure(int number) {
  state_->history.TellFailure(number);
  state_->stale = true;
}

bool Driver::exhausted() const { return state_->history.exhausted(); }
const SearchSpace& Driver::space() const { return state_->history.space(); }
int Driver::initial_points() const { return state_->initial; }

}  // namespace mixrec::bo_driver
