// What the surrogate makes of a study: which bits matter, which pairs, how well it predicts. For
// people: the driver's suggestions do not depend on it.
#pragma once

#include <string>
#include <vector>

#include "bo_driver/driver.h"
#include "scheduler/journal.h"

namespace mixrec::bo_driver {

// How much more (or less) both bits parallel are worth than the sum of their effects:
// f(1, 1) - f(1, 0) - f(0, 1) + f(0, 0), other bits as in the best trials.
struct Interaction {
  int first = 0, second = 0;  // bits, first < second
  double mean = 0, standard_error = 0;
};

// A complete trial as predicted from all others.
struct LeftOut {
  int number = 0;
  double observed = 0, mean = 0, deviation = 0;
};

struct StudyModel {
  ModelSummary summary;
  std::vector<BitEffect> effects;         // one a bit
  std::vector<Interaction> interactions;  // the strongest, by the size of their mean
  std::vector<LeftOut> left_out;          // in the order of the trials

  bool fitted() const { return summary.fitted; }
};

// Fits the surrogate to the results of a study, from the prior's mode: unlike the driver's own, it
// has no history of fits. Not fitted: fewer than four complete trials, or a study of something
// else.
StudyModel ModelOf(const scheduler::StudyRecord& study);

}  // namespace mixrec::bo_driver
