// The search as the scheduler asks it: the driver behind the journal (scheduler/strategy.h).
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "bo_driver/study_definition.h"
#include "scheduler/strategy.h"

namespace mixrec::bo_driver {

// What a trial is, from Work to whoever trains it.
struct TrialWork {
  std::string architecture;               // the 3L bits
  std::map<std::string, int64_t> values;  // of replace_every and bottleneck, where searched
  int replicate = 0;                      // 1: once more with another seed
};
std::string TrialWorkText(const TrialWork& work);
absl::StatusOr<TrialWork> ParseTrialWork(const std::string& text);

class StudyStrategy : public scheduler::Strategy {
 public:
  // Creates the study in an empty journal or goes on with the one there (UsageError with the
  // difference when it was begun with other options), and sets the budget's attribute.
  static absl::StatusOr<std::unique_ptr<StudyStrategy>> Open(const StudyOptions& options,
                                                             scheduler::Journal* journal);

  bool HasMore(const scheduler::StudyRecord& study) const override;
  absl::StatusOr<scheduler::Proposal> Propose(const scheduler::StudyRecord& study) override;
  void Told(const scheduler::TrialRecord& trial) override;
  std::optional<scheduler::EarlyStop> StopsEarly(const scheduler::StudyRecord& study,
                                                 const scheduler::TrialRecord& trial) override;
  std::string Work(const scheduler::TrialRecord& trial) override;

  // Every architecture has been tried.
  bool exhausted() const { return driver_.exhausted(); }
  const Driver& driver() const { return driver_; }

 private:
  StudyStrategy(StudyOptions options, ArchitectureDomain domain, Driver driver);
  scheduler::Proposal ProposalOf(const Suggestion& suggestion) const;
  // The next of the best trials to repeat; null: none.
  const scheduler::TrialRecord* ToReplicate(const scheduler::StudyRecord& study) const;

  StudyOptions options_;
  ArchitectureDomain domain_;
  Driver driver_;
};

// A line for the log when the surrogate explains nothing, else empty.
std::string ModelWarning(const Driver& driver);

}  // namespace mixrec::bo_driver
