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

// A function of the journal: what it answers depends on the study's records and their order alone,
// so that a scheduler that is started again asks and hears the same. Called from one thread.
class Strategy {
 public:
  virtual ~Strategy() = default;

  // The trial to create next; nullopt: none now. There may be one after a trial has ended (a failed
  // one does not use up the budget); when none is left unfinished either, the study is over.
  virtual absl::StatusOr<std::optional<Proposal>> Propose(const StudyRecord& study) = 0;
  // A trial has just been journalled as ended.
  virtual void Told(const TrialRecord& trial) = 0;
  // Asked after every epoch of a trial: the name of the rule by which it should end now ("median");
  // empty: it goes on.
  virtual std::string StopsEarly(const StudyRecord& study, const TrialRecord& trial) = 0;
  // What a group must know to run the trial; opaque to the scheduler.
  virtual std::string Work(const TrialRecord& trial) = 0;
};

}  // namespace mixrec::scheduler
