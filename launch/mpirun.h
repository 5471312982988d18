// mpirun, as this program starts it itself: for ranks of its own commands on this machine.
#pragma once

#include <csignal>
#include <string>
#include <vector>

#include "common/status.h"

namespace mixrec::launch {

// What mpirun passes on to its ranks, and waits for them; of a SIGTERM they would have one second
// left.
inline constexpr int kStopOfRanks = SIGUSR1;

// The words before those of the command, so many of which run here. They may share cores with
// others: nothing is bound. mpirun ends soon after a rank has died or ended with another code than
// 0, killing the rest, with that code or 128 + the signal.
std::vector<std::string> MpirunOf(int ranks);

// UsageError, naming the flag that needs it, where there is no mpirun.
absl::Status CheckMpirun(const std::string& flag);

}  // namespace mixrec::launch
