// What a study found, from its journal.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "scheduler/journal.h"

namespace mixrec::bo_driver {

// A finished trial, as the table of the best shows it.
struct TrialResult {
  int number = 0;
  std::string bits;
  std::string source;
  double value = 0;  // with replicates: the mean
  double seconds = 0;
  std::optional<double> acquisition;
  int evaluations = 1;                    // it and its replicates
  std::map<std::string, int64_t> values;  // of replace_every and bottleneck, where searched
};

// A trial and its complete replicates.
TrialResult ResultOf(const scheduler::StudyRecord& study, const scheduler::TrialRecord& trial);

// The best complete trials, best first. Where some were repeated these come first, by the mean of
// their scores: a single high score among many may be luck.
std::vector<TrialResult> BestTrials(const scheduler::StudyRecord& study, int count);

// The trial whose architecture best.flags has, the first of the best; null: none is complete.
const scheduler::TrialRecord* WinnerOf(const scheduler::StudyRecord& study);
// ", mean of 2" of a trial that was repeated, else empty.
std::string MeanText(const TrialResult& result);

// They as an aligned text table, one line a trial, with a header line.
std::string BestTable(const scheduler::StudyRecord& study, int count);

}  // namespace mixrec::bo_driver
