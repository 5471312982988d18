// What the scheduler asks about trials and does not know itself: which comes next, whether one is
// hopeless. bo_driver/study_strategy.h is the one that searches.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "common/status.h"
#include "scheduler/journal.h"

namespace mixrec::scheduler {

struct Proposal {
  std::vector<TrialParameter> parameters;
  std::map<std::string, nlohmann::json> attributes;
};

// A hopeless trial ends where it is, as pruned.
struct EarlyStop {
  std::string rule;  // "median"
  double value = 0;  // its result
};

// A function of the journal: what it answers depends on the study's records and their order alone,
// so that a scheduler that is started again asks and hears the same. Called from one thread.
class Strategy {
 public:
  virtual ~Strategy() = default;

  // Whether Propose would have a trial. It may change when a trial ends (a failed one does not use
  // up the budget); when it is false and no trial is left unfinished, the study is over.
  virtual bool HasMore(const StudyRecord& study) const = 0;
  // The trial to create next, which the caller journals at once. Only when HasMore.
  virtual absl::StatusOr<Proposal> Propose(const StudyRecord& study) = 0;
  // A trial has just been journalled as ended.
  virtual void Told(const TrialRecord& trial) = 0;
  // Asked after every epoch of a trial; nullopt: it goes on.
  virtual std::optional<EarlyStop> StopsEarly(const StudyRecord& study,
                                              const TrialRecord& trial) = 0;
  // What a group must know to run the trial; opaque to the scheduler.
  virtual std::string Work(const TrialRecord& trial) = 0;
};

}  // namespace mixrec::scheduler
