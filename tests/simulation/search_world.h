// A search on a simulated network and a simulated disk: the very scheduler, groups and journal that
// `mixrec` links, under faults drawn from a seed.
#pragma once

#include <cstdint>
#include <string>

#include "scheduler/mutation.h"

namespace mixrec::scheduler {

struct SearchWorldOptions {
  uint64_t seed = 1;
  int groups = 3;
  int slots = 1;
  int trials = 6;
  int epochs = 2;
  double epoch_seconds = 2;  // about
  double drop = 0, duplicate = 0, straggle = 0;
  double tear = 0;        // chance that the scheduler dies while it writes a record
  double bad = 0;         // chance of a failure that is the trial's, by epoch
  double unlucky = 0;     // of one that is not
  double early_stop = 0;  // by epoch
  int retries = 3;
  int faults = 0;
  Mutation mutation = Mutation::kNone;
  bool trace = false;
};

// Everything drawn from the seed.
SearchWorldOptions DrawSearchWorld(uint64_t seed, Mutation mutation = Mutation::kNone);
std::string Describe(const SearchWorldOptions& options);

struct SearchWorldResult {
  std::string violation;  // empty: all promises were kept
  uint64_t history = 0;   // hash of everything that happened
  uint64_t events = 0;
  int scheduler_deaths = 0, group_deaths = 0;
  int attempts = 0, trials = 0, failed = 0, pruned = 0;
  std::string trace;
};

SearchWorldResult RunSearchWorld(const SearchWorldOptions& options);

}  // namespace mixrec::scheduler
