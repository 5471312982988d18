#include "bo_driver/early_stop.h"

#include <algorithm>
#include <string>
#include <vector>

namespace mixrec::bo_driver {
namespace {

using scheduler::EarlyStop;
using scheduler::StudyRecord;
using scheduler::TrialRecord;
using scheduler::TrialState;

constexpr size_t kMedianTrials = 5;
constexpr size_t kReduction = 3;  // ASHA's eta

struct NamedRule {
  EarlyStopRule rule;
  std::string_view name;
};
constexpr NamedRule kRules[] = {{EarlyStopRule::kNone, "none"},
                                {EarlyStopRule::kMedian, "median"},
                                {EarlyStopRule::kAsha, "asha"}};

// The best score until an epoch that the trial has reached.
std::optional<double> BestUntil(const TrialRecord& trial, int epoch) {
  if (trial.intermediate_values.count(epoch) == 0) return std::nullopt;
  std::optional<double> best;
  for (const auto& [at, value] : trial.intermediate_values) {
    if (at <= epoch && (!best || value > *best)) best = value;
  }
  return best;
}

std::vector<double> ScoresOfOthers(const StudyRecord& study, int number, int epoch,
                                   bool complete_only) {
  std::vector<double> scores;
  for (const TrialRecord& trial : study.trials) {
    if (trial.number == number) continue;
    if (complete_only && trial.state != TrialState::kComplete) continue;
    if (const auto score = BestUntil(trial, epoch)) scores.push_back(*score);
  }
  return scores;
}

bool BelowMedian(const StudyRecord& study, int number, int epoch, double score) {
  std::vector<double> others = ScoresOfOthers(study, number, epoch, /*complete_only=*/true);
  if (others.size() < kMedianTrials) return false;
  std::sort(others.begin(), others.end());
  const size_t half = others.size() / 2;
  const double median =
      others.size() % 2 == 1 ? others[half] : (others[half - 1] + others[half]) / 2;
  return score < median;
}

bool IsRung(int epoch) {
  int rung = 1;
  while (rung < epoch) rung *= static_cast<int>(kReduction);
  return rung == epoch;
}

bool BelowBestThird(const StudyRecord& study, int number, int epoch, double score) {
  if (!IsRung(epoch)) return false;
  const std::vector<double> others = ScoresOfOthers(study, number, epoch, /*complete_only=*/false);
  const size_t all = others.size() + 1;
  if (all < kReduction) return false;
  const auto better = static_cast<size_t>(
      std::count_if(others.begin(), others.end(), [&](double other) { return other > score; }));
  return better >= all / kReduction;
}

}  // namespace

absl::StatusOr<EarlyStopRule> ParseEarlyStopRule(std::string_view name) {
  for (const NamedRule& known : kRules) {
    if (known.name == name) return known.rule;
  }
  return UsageError("unknown rule of early stopping \"", name, "\": expected none, median or asha");
}

std::string_view EarlyStopRuleName(EarlyStopRule rule) {
  for (const NamedRule& known : kRules) {
    if (known.rule == rule) return known.name;
  }
  return "?";
}

std::optional<EarlyStop> HopelessNow(EarlyStopRule rule, int epochs, const StudyRecord& study,
                                     const TrialRecord& trial) {
  if (rule == EarlyStopRule::kNone || trial.intermediate_values.empty()) return std::nullopt;
  const int epoch = trial.intermediate_values.rbegin()->first;
  if (epoch >= epochs) return std::nullopt;
  const double score = *BestUntil(trial, epoch);
  const bool hopeless = rule == EarlyStopRule::kMedian
                            ? BelowMedian(study, trial.number, epoch, score)
                            : BelowBestThird(study, trial.number, epoch, score);
  if (!hopeless) return std::nullopt;
  return EarlyStop{std::string(EarlyStopRuleName(rule)), score};
}

}  // namespace mixrec::bo_driver
