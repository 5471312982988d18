// Private to collective/: messages by MPI. The thread that makes it is the one that may use it, and
// starts and ends MPI.
#pragma once

#include <memory>

#include "collective/operation.h"
#include "collective/transport.h"
#include "common/status.h"

namespace mixrec::collective {

absl::StatusOr<std::unique_ptr<Transport>> StartMpi();

// MPI_Allreduce over all processes, which stops the thread until it is done.
std::unique_ptr<Operation> MakeMpiAllReduce(const Party& everybody, float* values, int64_t count);

}  // namespace mixrec::collective
