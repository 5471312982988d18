#include "bo_driver/study_definition.h"

#include <absl/strings/str_split.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "bo_driver/prior.h"

namespace mixrec::bo_driver {
namespace {

using nlohmann::json;
using scheduler::StudyRecord;
using scheduler::TrialRecord;

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

absl::StatusOr<std::vector<Dimension>> DimensionsOf(const json& definition) {
  std::string text;
  for (const json& line : definition.value("space", json::array())) {
    text += StrCat(line.get<std::string>(), "\n");
  }
  return ParseDimensions(text, "the study's space");
}

// Whether every point of `before` lies in `now`, under the same bits.
bool HasGrown(const std::vector<Dimension>& before, const std::vector<Dimension>& now) {
  if (before.size() != now.size()) return false;
  for (size_t i = 0; i < before.size(); ++i) {
    const auto &a = before[i].values, &b = now[i].values;
    if (before[i].name != now[i].name || !std::includes(b.begin(), b.end(), a.begin(), a.end())) {
      return false;
    }
    if (before[i].name == kReplaceEvery && a.front() != b.front()) return false;
  }
  return true;
}

bool MayTakeSpaceOf(const json& wanted, const json& stored) {
  if (!wanted.contains("space") || !stored.contains("space")) return false;
  const auto before = DimensionsOf(stored), now = DimensionsOf(wanted);
  return before.ok() && now.ok() && HasGrown(*before, *now);
}

}  // namespace

ArchitectureDomain DomainOf(const StudyOptions& options) {
  return ArchitectureDomain(options.layers, options.dimensions);
}

absl::StatusOr<DriverOptions> DriverOptionsOf(const StudyOptions& options) {
  if (options.layers < 1) {
    return UsageError("a search needs one DAMoE layer or more, found ", options.layers);
  }
  if (options.trials < 1) return UsageError("--trials=", options.trials, ": expected 1 or more");
  for (const Dimension& dimension : options.dimensions) {
    if (dimension.name == kReplaceEvery && dimension.values.back() > options.layers) {
      return UsageError("replace_every up to ", dimension.values.back(), " leaves no DAMoE layer ",
                        "in a backbone of ", options.layers, " layers");
    }
  }
  DriverOptions driver;
  driver.method = options.method;
  driver.seed = options.seed;
  driver.budget = options.trials;
  driver.groups = std::max(options.groups, 1);
  driver.initial = options.initial;
  const ArchitectureDomain domain = DomainOf(options);
  for (const std::string& text : options.baselines) {
    MIXREC_ASSIGN_OR_RETURN(Point point, domain.space().Parse(text));
    driver.baselines.push_back(std::move(point));
  }
  if (options.feasible) {
    driver.feasible = [domain, feasible = options.feasible](const Point& point) {
      return feasible(domain.Architecture(point), domain.Values(point));
    };
  }
  return driver;
}

json Definition(const StudyOptions& options, const DriverOptions& driver_options) {
  json definition = {{"layers", options.layers},
                     {"seed", options.seed},
                     {"method", std::string(MethodName(options.method))},
                     {"initial", InitialPoints(DomainOf(options).space(), driver_options)},
                     {"baselines", options.baselines},
                     {"settings", json::object()}};
  for (const auto& [key, value] : options.settings) definition["settings"][key] = value;
  for (const Dimension& dimension : options.dimensions) {
    definition["space"].push_back(DimensionLine(dimension));
  }
  if (options.early_stop != EarlyStopRule::kNone) {
    definition["early_stop"] = std::string(EarlyStopRuleName(options.early_stop));
  }
  return definition;
}

std::string DefinitionDifferences(const json& stored, const json& wanted) {
  std::map<std::string, std::string> before = Flatten(stored), now = Flatten(wanted);
  if (MayTakeSpaceOf(wanted, stored)) before["space"] = now["space"];
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

absl::Status DefineStudy(const StudyOptions& options, scheduler::Journal* journal) {
  MIXREC_ASSIGN_OR_RETURN(DriverOptions driver_options, DriverOptionsOf(options));
  const SearchSpace space = DomainOf(options).space();
  const auto& attributes = journal->study().attributes;
  const auto stored = attributes.find(kDefinitionAttribute);
  const bool is_new = stored == attributes.end();
  if (is_new && !journal->study().trials.empty()) {
    return DataError(journal->path(), ": has trials, but is not a study of MixRec");
  }
  json prior;
  if (is_new && !options.warm_start.empty()) {
    MIXREC_ASSIGN_OR_RETURN(const StudyRecord earlier,
                            scheduler::ReadJournal(options.warm_start + "/study.journal"));
    MIXREC_ASSIGN_OR_RETURN(driver_options.prior, PriorOf(earlier, space, options.defaults));
    prior = PriorToJson(space, driver_options.prior);
  }
  json wanted = Definition(options, driver_options);
  if (is_new) {
    if (!journal->study().created) {
      MIXREC_RETURN_IF_ERROR(journal->CreateStudy(options.name, /*maximise=*/true));
    }
    if (!prior.is_null()) {
      MIXREC_RETURN_IF_ERROR(journal->SetStudyAttribute(kPriorAttribute, prior));
    }
    return journal->SetStudyAttribute(kDefinitionAttribute, wanted);
  }
  // The size of the initial design follows from the budget, which may change: it stays.
  if (options.initial <= 0 && stored->second.contains("initial")) {
    wanted["initial"] = stored->second["initial"];
  }
  const std::string differences = DefinitionDifferences(stored->second, wanted);
  if (!differences.empty()) {
    return UsageError(journal->path(), ": this study was begun with other options:", differences,
                      "\nuse the same options, or another --out folder (--warm_start takes over ",
                      "what this one has found)");
  }
  if (wanted == stored->second) return absl::OkStatus();
  return journal->SetStudyAttribute(kDefinitionAttribute, wanted);  // the space has grown
}

absl::StatusOr<ArchitectureDomain> StoredDomain(const StudyRecord& study) {
  const auto definition = study.attributes.find(kDefinitionAttribute);
  if (definition == study.attributes.end() || !definition->second.is_object() ||
      !definition->second.contains("layers")) {
    return DataError("the journal has no attribute \"", kDefinitionAttribute,
                     "\" of a MixRec study");
  }
  MIXREC_ASSIGN_OR_RETURN(std::vector<Dimension> dimensions, DimensionsOf(definition->second));
  return ArchitectureDomain(definition->second["layers"].get<int>(), std::move(dimensions));
}

absl::StatusOr<Point> PointOf(const ArchitectureDomain& domain, const TrialRecord& trial) {
  const bool plain = domain.dimensions().empty();
  std::string text = trial.Text(plain ? kBitsAttribute : kPointAttribute);
  for (const Dimension& dimension : domain.dimensions()) {
    const double value = trial.Number(dimension.name).value_or(-1);
    const auto level = std::find(dimension.values.begin(), dimension.values.end(), value) -
                       dimension.values.begin();
    text += StrCat(",", level);
  }
  absl::StatusOr<Point> point = domain.space().Parse(text);
  if (point.ok()) return point;
  return DataError("trial ", trial.number, " of the journal has no valid attribute \"",
                   plain ? kBitsAttribute : kPointAttribute,
                   "\": ", std::string(point.status().message()));
}

}  // namespace mixrec::bo_driver
