// What a Driver's surrogate says: incumbents, a summary, effects of bits.
#include <cmath>

#include "bo_driver/driver_state.h"

namespace mixrec::bo_driver {

Incumbent Driver::BestObserved() const {
  Incumbent incumbent;
  incumbent.number = state_->history.BestNumber();
  if (incumbent.number < 0) return incumbent;
  const History::Entry& best = state_->history.entries()[static_cast<size_t>(incumbent.number)];
  incumbent.point = best.point;
  incumbent.value = best.value;
  if (const std::optional<Surrogate> model = state_->Fitted()) {
    incumbent.mean = model->ToValue(model->process().Predict({best.point}).mean[0]);
  }
  return incumbent;
}

Incumbent Driver::BestByMean() const {
  const std::optional<Surrogate> model = state_->Fitted();
  if (!model) return BestObserved();
  Incumbent incumbent;
  for (int number = 0; number < state_->history.size(); ++number) {
    const History::Entry& entry = state_->history.entries()[static_cast<size_t>(number)];
    if (entry.status != History::Status::kDone) continue;
    const double mean = model->ToValue(model->process().Predict({entry.point}).mean[0]);
    if (incumbent.number >= 0 && mean <= incumbent.mean) continue;
    incumbent = {number, entry.point, entry.value, mean};
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
  const std::vector<Evaluation> evaluations = state_->history.Evaluations();
  for (int bit = 0; bit < space().bits; ++bit) {
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

}  // namespace mixrec::bo_driver
