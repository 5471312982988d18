// Where the wall time of train steps goes.
#pragma once

#include <chrono>

#include "collective/group.h"
#include "worker/model_state.h"

namespace mixrec::worker {

// Wall seconds by part, added up over steps. On a GPU, launches only unless the part reads a value:
// what the host then waits for the device's end of the step is a part of its own.
// What they waited for the ranks of a group and for servers is not in them, but stands apart.
struct StepTimes {
  double pull = 0, forward = 0, softmax = 0, backward = 0, optimizer = 0;
  double device = 0, communication = 0, server = 0;
  double total() const {
    return pull + forward + softmax + backward + optimizer + device + communication + server;
  }
};

class StepClock {
 public:
  // Keeps the pointers; `group` may be null.
  StepClock(const collective::Group* group, const ModelState* state)
      : group_(group), state_(state) {}

  void Start() { last_ = Read(); }
  // The seconds since the last call of either go to a part, but for those of waiting.
  void Lap(double StepTimes::*part);
  const StepTimes& times() const { return times_; }
  void Reset() { times_ = {}; }

 private:
  struct Moment {
    std::chrono::steady_clock::time_point time;
    double for_ranks = 0, for_servers = 0;  // seconds waited so far
  };
  Moment Read() const;

  const collective::Group* group_;
  const ModelState* state_;
  StepTimes times_;
  Moment last_;
};

}  // namespace mixrec::worker
