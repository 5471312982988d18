// Private to collective/: messages by MPI. The thread that makes it is the one that may use it, and
// starts and ends MPI.
#pragma once

#include <memory>

#include "collective/transport.h"
#include "common/status.h"

namespace mixrec::collective {

absl::StatusOr<std::unique_ptr<Transport>> StartMpi();

}  // namespace mixrec::collective
