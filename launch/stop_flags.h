// When a run stops by itself, and at which signal.
#pragma once

#include <string>

#include "common/status.h"
#include "launch/program.h"

namespace mixrec::launch {

// Seconds of a time as Slurm writes it: MINUTES, MINUTES:SECONDS, HOURS:MINUTES:SECONDS,
// DAYS-HOURS, DAYS-HOURS:MINUTES or DAYS-HOURS:MINUTES:SECONDS. UsageError for anything else, and
// for none.
absl::StatusOr<unsigned> ParseWalltime(const std::string& text);

// --max_walltime and --stop_signal, of a command that takes them.
absl::Status HeedStopFlags(const Invocation& invocation);

}  // namespace mixrec::launch
