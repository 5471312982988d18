// The ceiling of the parameter server's traffic: plain libzmq that carries the same bytes in the
// same directions, cut the same way, between as many processes, and does nothing with them. Nothing
// is copied that libzmq does not copy.
#pragma once

#include "bench/ps_traffic.h"
#include "common/status.h"

namespace mixrec::bench {

// Takes options.seconds * 1.25 and the start of the processes, which are forked.
absl::StatusOr<TrafficResult> MeasureZmq(const TrafficOptions& options);

}  // namespace mixrec::bench
