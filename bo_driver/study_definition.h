// What a study is, as its journal keeps it, and the driver that its journal stands for.
#pragma once

#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bo_driver/architecture_domain.h"
#include "bo_driver/driver.h"
#include "bo_driver/early_stop.h"
#include "scheduler/journal.h"

namespace mixrec::bo_driver {

// Names of study and trial attributes in the journal (docs/journal.md).
inline constexpr char kDefinitionAttribute[] = "definition";    // of the study, see Definition
inline constexpr char kPriorAttribute[] = "prior";              // of the study, see prior.h
inline constexpr char kBitsAttribute[] = "architecture";        // of a trial, the 3L bits
inline constexpr char kPointAttribute[] = "bits";               // the space's, where r is searched
inline constexpr char kSourceAttribute[] = "source";            // who suggested it
inline constexpr char kAcquisitionAttribute[] = "acquisition";  // log expected improvement
inline constexpr char kReplicateAttribute[] = "replicate_of";   // number of the trial it repeats
inline constexpr char kRestartsAttribute[] = "restarts";        // times a trial was given out again
inline constexpr char kReplicateSource[] = "replicate";

struct StudyOptions {
  std::string name = "mixrec";
  // DAMoE layers, 3 bits each; with replace_every among the dimensions: layers of the backbone.
  int layers = 0;
  std::vector<Dimension> dimensions;  // besides the bits
  int trials = 30;  // finished trials in total, over all restarts; failed ones do not count
  uint64_t seed = 1;
  Method method = Method::kAuto;
  int initial = 0;  // see DriverOptions; frozen when the study is created
  int groups = 1;
  std::vector<std::string> baselines;  // points to try first, after all serial and parallel
  // Whatever else defines the objective (data hash, backbone hash, epochs, fraction ...): compared
  // when the study is opened again, stored as attributes of the study, shown in the report.
  std::map<std::string, std::string> settings;

  EarlyStopRule early_stop = EarlyStopRule::kNone;
  int epochs = 1;          // of a whole trial, for early stopping
  int replicate_top = 0;   // of the best trials, to be repeated with another seed at the end
  std::string warm_start;  // folder of an earlier study; read when the study is created
  std::map<std::string, double> defaults;  // values that the earlier study had without searching
  // Whether what the point means can be run at all: its bits and values; null: everything can.
  std::function<bool(const std::string& architecture, const std::map<std::string, int64_t>& values)>
      feasible;
};

ArchitectureDomain DomainOf(const StudyOptions& options);

// The driver's options for a study, but for its prior. UsageError for a malformed baseline or
// number.
absl::StatusOr<DriverOptions> DriverOptionsOf(const StudyOptions& options);

// {"layers", "seed", "method", "initial", "baselines", "settings": {...}} and, where they are not
// the default, "space" and "early_stop"; `initial` resolved.
nlohmann::json Definition(const StudyOptions& options, const DriverOptions& driver_options);

// Empty when `wanted` continues the study of `stored`; else one line a difference. A space may have
// grown: more levels of a dimension, but for the smallest r.
std::string DefinitionDifferences(const nlohmann::json& stored, const nlohmann::json& wanted);

// Creates the study in an empty journal, or compares the stored definition with the wanted one.
absl::Status DefineStudy(const StudyOptions& options, scheduler::Journal* journal);

// The space of a study. DataError when it is none of MixRec's.
absl::StatusOr<ArchitectureDomain> StoredDomain(const scheduler::StudyRecord& study);

// The point of a trial. DataError when it has none in the space.
absl::StatusOr<Point> PointOf(const ArchitectureDomain& domain,
                              const scheduler::TrialRecord& trial);

// The driver as it was when the last record was written, by replaying asks and tells in order.
// `feasible` as in DriverOptions. DataError when a trial is none of this study's.
absl::StatusOr<Driver> ReplayStudy(const scheduler::StudyRecord& study,
                                   std::function<bool(const Point&)> feasible = nullptr);

// Asks again for every suggestion that the journal holds: an empty text when all come out as they
// are there; else the first that does not.
absl::StatusOr<std::string> CheckSuggestions(const scheduler::StudyRecord& study);

}  // namespace mixrec::bo_driver
