#include "bo_driver/study_definition.h"

#include <absl/strings/str_format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include "model/architecture.h"

namespace mixrec::bo_driver {
namespace {

using nlohmann::json;
using scheduler::StudyRecord;
using scheduler::TrialRecord;

constexpr const char* kSiteNames[] = {"causal", "context", "recommendation"};
static_assert(std::size(kSiteNames) == model::kSitesPerLayer);

// {"a": {"b": 1}} as {"a.b": "1"}, so that differences name one value each.
std::map<std::string, std::string> Flatten(const json& definition) {
  std::map<std::string, std::string> flat;
  for (const auto& [key, value] : definition.items()) {
    if (!value.is_object()) {
      flat[key] = value.is_string() ? value.get<std::string>() : value.dump();
      continue;
    }
    for (const auto& [inner, text] : value.items()) {
      flat[inner] = text.is_string() ? text.get<std::string>() : text.dump();
    }
  }
  return flat;
}

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
  return options;
}

}  // namespace

SearchSpace ArchitectureSpace(int layers) {
  return SearchSpace{layers * model::kSitesPerLayer, model::kSitesPerLayer, {}};
}

std::vector<scheduler::TrialParameter> ArchitectureParameters(const std::string& bits) {
  std::vector<scheduler::TrialParameter> parameters;
  for (size_t i = 0; i < bits.size(); ++i) {
    parameters.push_back({absl::StrFormat("layer%02d.%s", i / model::kSitesPerLayer,
                                          kSiteNames[i % model::kSitesPerLayer]),
                          {"serial", "parallel"},
                          bits[i] == '1' ? 1 : 0});
  }
  return parameters;
}

absl::StatusOr<DriverOptions> DriverOptionsOf(const StudyOptions& options) {
  if (options.layers < 1) {
    return UsageError("a search needs one DAMoE layer or more, found ", options.layers);
  }
  if (options.trials < 1) return UsageError("--trials=", options.trials, ": expected 1 or more");
  DriverOptions driver;
  driver.method = options.method;
  driver.seed = options.seed;
  driver.budget = options.trials;
  driver.groups = std::max(options.groups, 1);
  driver.initial = options.initial;
  const SearchSpace space = ArchitectureSpace(options.layers);
  for (const std::string& text : options.baselines) {
    MIXREC_ASSIGN_OR_RETURN(Point point, space.Parse(text));
    driver.baselines.push_back(std::move(point));
  }
  driver.initial = InitialPoints(space, driver);
  return driver;
}

json Definition(const StudyOptions& options, const DriverOptions& driver_options) {
  json definition = {{"layers", options.layers},
                     {"seed", options.seed},
                     {"method", std::string(MethodName(options.method))},
                     {"initial", driver_options.initial},
                     {"baselines", options.baselines},
                     {"settings", json::object()}};
  for (const auto& [key, value] : options.settings) definition["settings"][key] = value;
  return definition;
}

std::string DefinitionDifferences(const json& stored, const json& wanted) {
  const std::map<std::string, std::string> before = Flatten(stored), now = Flatten(wanted);
  std::string differences;
  for (const auto& [key, value] : before) {
    const auto found = now.find(key);
    const std::string other = found == now.end() ? "(absent)" : found->second;
    if (other != value) {
      differences += StrCat("\n  ", key, ": the study has ", value, ", this command ", other);
    }
  }
  for (const auto& [key, value] : now) {
    if (before.count(key) == 0) {
      differences += StrCat("\n  ", key, ": the study has (absent), this command ", value);
    }
  }
  return differences;
}

absl::StatusOr<Driver> ReplayStudy(const StudyRecord& study) {
  try {
    const json& definition = study.attributes.at(kDefinitionAttribute);
    const SearchSpace space = ArchitectureSpace(definition.at("layers").get<int>());
    MIXREC_ASSIGN_OR_RETURN(const DriverOptions options, StoredDriverOptions(study, space));
    Driver driver(space, options);
    for (const Event& event : EventsOf(study)) {
      const TrialRecord& trial = *event.trial;
      if (!event.created) {
        if (trial.value && std::isfinite(*trial.value)) {
          driver.Tell(trial.number, *trial.value);
        } else {
          driver.TellFailure(trial.number);
        }
        continue;
      }
      const auto point = space.Parse(trial.Text(kBitsAttribute));
      if (!point.ok()) {
        return DataError("trial ", trial.number, " of the journal has no valid attribute \"",
                         kBitsAttribute, "\": ", std::string(point.status().message()));
      }
      driver.Replay({trial.number, *point, trial.Text(kSourceAttribute)});
    }
    return driver;
  } catch (const std::exception& error) {  // a missing or mistyped field of the definition
    return DataError("the journal's attribute \"", kDefinitionAttribute,
                     "\" is not one of a MixRec study: ", error.what());
  }
}

}  // namespace mixrec::bo_driver
