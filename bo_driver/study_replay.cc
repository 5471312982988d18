// A study's driver as its journal makes it: every ask and tell again, in their order.
#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "bo_driver/prior.h"
#include "bo_driver/study_definition.h"

namespace mixrec::bo_driver {
namespace {

using nlohmann::json;
using scheduler::StudyRecord;
using scheduler::TrialRecord;

// An ask or a tell.
struct Event {
  int64_t at;
  bool created;
  const TrialRecord* trial;
};

std::vector<Event> EventsOf(const StudyRecord& study) {
  std::vector<Event> events;
  for (const TrialRecord& trial : study.trials) {
    events.push_back({trial.created_at, true, &trial});
    if (trial.finished()) events.push_back({trial.finished_at, false, &trial});
  }
  // A trial that another program wrote in one record is created before it is finished.
  std::stable_sort(events.begin(), events.end(),
                   [](const Event& a, const Event& b) { return a.at < b.at; });
  return events;
}

absl::StatusOr<DriverOptions> StoredDriverOptions(const StudyRecord& study,
                                                  const SearchSpace& space) {
  const json& definition = study.attributes.at(kDefinitionAttribute);
  DriverOptions options;
  MIXREC_ASSIGN_OR_RETURN(options.method, ParseMethod(definition.at("method").get<std::string>()));
  options.seed = definition.at("seed").get<uint64_t>();
  options.initial = definition.at("initial").get<int>();
  for (const json& text : definition.at("baselines")) {
    MIXREC_ASSIGN_OR_RETURN(Point point, space.Parse(text.get<std::string>()));
    options.baselines.push_back(std::move(point));
  }
  const auto prior = study.attributes.find(kPriorAttribute);
  if (prior != study.attributes.end()) {
    MIXREC_ASSIGN_OR_RETURN(options.prior, PriorFromJson(space, prior->second));
  }
  return options;
}

// Called for every trial, before its suggestion is replayed.
using Visitor =
    std::function<absl::Status(Driver* driver, const TrialRecord& trial, const Point& point)>;

absl::StatusOr<Driver> Replay(const StudyRecord& study, std::function<bool(const Point&)> feasible,
                              const Visitor& ask) {
  try {
    MIXREC_ASSIGN_OR_RETURN(const ArchitectureDomain domain, StoredDomain(study));
    MIXREC_ASSIGN_OR_RETURN(DriverOptions options, StoredDriverOptions(study, domain.space()));
    options.feasible = std::move(feasible);
    Driver driver(domain.space(), options);
    for (const Event& event : EventsOf(study)) {
      const TrialRecord& trial = *event.trial;
      if (event.created) {
        MIXREC_ASSIGN_OR_RETURN(const Point point, PointOf(domain, trial));
        MIXREC_RETURN_IF_ERROR(ask(&driver, trial, point));
      } else if (trial.value && std::isfinite(*trial.value)) {
        driver.Tell(trial.number, *trial.value);
      } else {
        driver.TellFailure(trial.number);
      }
    }
    return driver;
  } catch (const std::exception& error) {  // a missing or mistyped field of the definition
    return DataError("the journal's attribute \"", kDefinitionAttribute,
                     "\" is not one of a MixRec study: ", error.what());
  }
}

}  // namespace

absl::StatusOr<Driver> ReplayStudy(const StudyRecord& study,
                                   std::function<bool(const Point&)> feasible) {
  return Replay(study, std::move(feasible),
                [](Driver* driver, const TrialRecord& trial, const Point& point) {
                  driver->Replay({trial.number, point, trial.Text(kSourceAttribute)});
                  return absl::OkStatus();
                });
}

absl::StatusOr<std::string> CheckSuggestions(const StudyRecord& study) {
  std::string difference;
  const auto ask = [&](Driver* driver, const TrialRecord& trial, const Point& point) {
    const std::string source = trial.Text(kSourceAttribute);
    if (source == kReplicateSource || !difference.empty()) {
      driver->Replay({trial.number, point, source});
      return absl::OkStatus();
    }
    const std::optional<Suggestion> suggestion = driver->Ask();
    if (!suggestion || suggestion->point != point || suggestion->source != source) {
      difference = StrCat(
          "trial ", trial.number, " is ", driver->space().Text(point), " (", source, "), now ",
          suggestion
              ? StrCat(driver->space().Text(suggestion->point), " (", suggestion->source, ")")
              : "nothing",
          " is suggested");
      return UsageError(difference);
    }
    return absl::OkStatus();
  };
  const absl::StatusOr<Driver> driver = Replay(study, nullptr, ask);
  if (!driver.ok() && difference.empty()) return driver.status();
  return difference;
}

}  // namespace mixrec::bo_driver
