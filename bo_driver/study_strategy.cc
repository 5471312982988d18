#include "bo_driver/study_strategy.h"

#include <absl/strings/str_format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "common/log.h"
#include "scheduler/lease.h"

namespace mixrec::bo_driver {
namespace {

using nlohmann::json;
using scheduler::Proposal;
using scheduler::StudyRecord;
using scheduler::TrialRecord;
using scheduler::TrialState;

bool IsReplicate(const TrialRecord& trial) {
  return trial.attributes.count(kReplicateAttribute) > 0;
}

}  // namespace

std::string TrialWorkText(const TrialWork& work) {
  json object{{"architecture", work.architecture}};
  for (const auto& [name, value] : work.values) object["values"][name] = value;
  if (work.replicate > 0) object["replicate"] = work.replicate;
  return object.dump();
}

absl::StatusOr<TrialWork> ParseTrialWork(const std::string& text) {
  const json object = json::parse(text, nullptr, /*allow_exceptions=*/false);
  try {
    TrialWork work;
    work.architecture = object.at("architecture").get<std::string>();
    if (object.contains("values")) {
      work.values = object["values"].get<std::map<std::string, int64_t>>();
    }
    work.replicate = object.value("replicate", 0);
    return work;
  } catch (const json::exception& error) {
    return DataError("the scheduler's description of a trial cannot be read: ", error.what());
  }
}

absl::StatusOr<std::unique_ptr<StudyStrategy>> StudyStrategy::Open(const StudyOptions& options,
                                                                   scheduler::Journal* journal) {
  MIXREC_RETURN_IF_ERROR(DefineStudy(options, journal));
  const json budget = options.trials;
  const auto stored = journal->study().attributes.find(scheduler::kBudgetAttribute);
  if (stored == journal->study().attributes.end() || stored->second != budget) {
    MIXREC_RETURN_IF_ERROR(journal->SetStudyAttribute(scheduler::kBudgetAttribute, budget));
  }
  MIXREC_ASSIGN_OR_RETURN(const DriverOptions driver_options, DriverOptionsOf(options));
  MIXREC_ASSIGN_OR_RETURN(Driver driver, ReplayStudy(journal->study(), driver_options.feasible));
  return std::unique_ptr<StudyStrategy>(
      new StudyStrategy(options, DomainOf(options), std::move(driver)));
}

StudyStrategy::StudyStrategy(StudyOptions options, ArchitectureDomain domain, Driver driver)
    : options_(std::move(options)), domain_(std::move(domain)), driver_(std::move(driver)) {}

// Finished trials and those that are being evaluated use up the budget; failed ones do not.
bool StudyStrategy::HasMore(const StudyRecord& study) const {
  int spent = 0, unfinished = 0;
  for (const TrialRecord& trial : study.trials) {
    if (IsReplicate(trial)) continue;
    spent += trial.state != TrialState::kFailed;
    unfinished += !trial.finished();
  }
  if (spent < options_.trials && !driver_.exhausted()) return true;
  return unfinished == 0 && ToReplicate(study) != nullptr;
}

const TrialRecord* StudyStrategy::ToReplicate(const StudyRecord& study) const {
  int seen = 0;
  for (const TrialRecord* trial : study.Ranked()) {
    if (IsReplicate(*trial)) continue;
    if (++seen > options_.replicate_top) return nullptr;
    const bool done =
        std::any_of(study.trials.begin(), study.trials.end(), [&](const TrialRecord& other) {
          return other.Number(kReplicateAttribute).value_or(-1) == trial->number;
        });
    if (!done) return trial;
  }
  return nullptr;
}

absl::StatusOr<Proposal> StudyStrategy::Propose(const StudyRecord& study) {
  int spent = 0;
  for (const TrialRecord& trial : study.trials) {
    spent += !IsReplicate(trial) && trial.state != TrialState::kFailed;
  }
  if (spent < options_.trials) {
    const std::optional<Suggestion> suggestion = driver_.Ask();
    if (suggestion) return ProposalOf(*suggestion);
  }
  const TrialRecord* best = ToReplicate(study);
  CHECK(best != nullptr) << "asked for a trial when there is none";
  MIXREC_ASSIGN_OR_RETURN(const Point point, PointOf(domain_, *best));
  const Suggestion again{static_cast<int>(study.trials.size()), point, kReplicateSource};
  driver_.Replay(again);
  Proposal proposal = ProposalOf(again);
  proposal.attributes[kReplicateAttribute] = best->number;
  return proposal;
}

Proposal StudyStrategy::ProposalOf(const Suggestion& suggestion) const {
  Proposal proposal;
  proposal.parameters = domain_.Parameters(suggestion.point);
  proposal.attributes = {{kBitsAttribute, domain_.Architecture(suggestion.point)},
                         {kSourceAttribute, suggestion.source}};
  const auto values = domain_.Values(suggestion.point);
  for (const auto& [name, value] : values) proposal.attributes[name] = value;
  if (!values.empty()) {
    const std::string text = domain_.space().Text(suggestion.point);
    proposal.attributes[kPointAttribute] = text.substr(0, text.find(','));
  }
  if (std::isfinite(suggestion.acquisition)) {
    proposal.attributes[kAcquisitionAttribute] = suggestion.acquisition;
  }
  return proposal;
}

void StudyStrategy::Told(const TrialRecord& trial) {
  if (trial.value && std::isfinite(*trial.value)) {
    driver_.Tell(trial.number, *trial.value);
  } else {
    driver_.TellFailure(trial.number);
  }
}

std::optional<scheduler::EarlyStop> StudyStrategy::StopsEarly(const StudyRecord& study,
                                                              const TrialRecord& trial) {
  if (IsReplicate(trial)) return std::nullopt;  // its full score is what is wanted
  return HopelessNow(options_.early_stop, options_.epochs, study, trial);
}

std::string StudyStrategy::Work(const TrialRecord& trial) {
  TrialWork work;
  work.architecture = trial.Text(kBitsAttribute);
  for (const Dimension& dimension : domain_.dimensions()) {
    if (const auto value = trial.Number(dimension.name)) {
      work.values[dimension.name] = static_cast<int64_t>(*value);
    }
  }
  work.replicate = IsReplicate(trial) ? 1 : 0;
  return TrialWorkText(work);
}

std::string ModelWarning(const Driver& driver) {
  const ModelSummary model = driver.Summary();
  if (!model.explains_nothing()) return "";
  return absl::StrFormat(
      "the surrogate explains nothing yet (leave-one-out R2 %.2f < 0): its suggestions are little "
      "better than random points",
      model.leave_one_out_r2);
}

}  // namespace mixrec::bo_driver
