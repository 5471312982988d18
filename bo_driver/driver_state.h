// What a Driver holds; for driver.cc and driver_model.cc alone.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "bo_driver/driver.h"
#include "bo_driver/history.h"
#include "bo_driver/surrogate.h"

namespace mixrec::bo_driver {

struct Driver::State {
  State(SearchSpace space, DriverOptions driver_options);

  DriverOptions options;
  std::vector<KnownPoint> known;  // the first points
  int initial;                    // size of the initial design
  History history;
  Surrogate surrogate;
  bool stale = true;  // results came in since the surrogate was fitted

  // Whether the surrogate is to speak, and can.
  bool model_wanted() const;
  // What every Ask does before it chooses, and Replay too: the fits' warm starts are history.
  void RefitIfStale();
  // The surrogate fitted to everything known, without touching the history of fits.
  std::optional<Surrogate> Fitted() const;

  Suggestion Choose();

 private:
  Suggestion Initial() const;
  Suggestion Climb() const;
  Suggestion ByModel();
  Suggestion Random(std::string_view purpose) const;
};

}  // namespace mixrec::bo_driver
