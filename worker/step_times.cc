#include "worker/step_times.h"

namespace mixrec::worker {

StepClock::Moment StepClock::Read() const {
  return {std::chrono::steady_clock::now(), group_ == nullptr ? 0 : group_->waited_seconds(),
          state_->server_seconds()};
}

void StepClock::Lap(double StepTimes::*part) {
  const Moment now = Read();
  const double for_ranks = now.for_ranks - last_.for_ranks;
  const double for_servers = now.for_servers - last_.for_servers;
  times_.*part +=
      std::chrono::duration<double>(now.time - last_.time).count() - for_ranks - for_servers;
  times_.communication += for_ranks;
  times_.server += for_servers;
  last_ = now;
}

}  // namespace mixrec::worker
