// A search by worker groups as its journal would tell it, without any training: 12 layers, five
// groups of which one gets lost and one leaves, trials that are pruned, that fail and that run.
#pragma once

#include <memory>
#include <string>

#include "common/status.h"
#include "scheduler/journal.h"

namespace mixrec {

class SampleStudy {
 public:
  // A new study; `name` is shown. `start`: when it began, seconds since 1970.
  static absl::StatusOr<std::unique_ptr<SampleStudy>> Create(const std::string& path,
                                                             const std::string& name,
                                                             double start = 1795000000.0);
  ~SampleStudy();

  // Goes on until so many trials have ended; some are running then.
  absl::Status RunUntil(int ended);
  // Lets the running ones end, and the study.
  absl::Status Finish();
  const scheduler::StudyRecord& study() const;
  // The time of the study's own clock, seconds since 1970.
  double now() const;

 private:
  struct State;
  explicit SampleStudy(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace mixrec
