// The group of an MpiWorld for a rank whose tensors are on a GPU: those go by NCCL, tensors in host
// memory, as ever, by MPI.
#pragma once

#include <ATen/ATen.h>

#include <memory>

#include "collective/group.h"
#include "collective/mpi_world.h"
#include "common/status.h"

namespace mixrec::collective {

// All ranks of the world's group call it, each with a GPU of its own: UsageError naming two that
// have the same. NCCL's unique id travels over MPI. A GPU operation that does not end in time, or a
// process that dies meanwhile, aborts NCCL, so that nobody waits in a kernel for ever.
//
// A build without CUDA has no such group: UsageError.
absl::StatusOr<std::unique_ptr<Group>> MakeDeviceGroup(MpiWorld* world, at::Device device);

}  // namespace mixrec::collective
