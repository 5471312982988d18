// Private to collective/: an NCCL communicator that never blocks the caller, as C++ values.
#pragma once

#include <ATen/ATen.h>
#include <cuda_runtime.h>
#include <nccl.h>

#include <memory>
#include <mutex>
#include <string>

#include "common/status.h"

namespace mixrec::collective {

// FailureError with NCCL's or CUDA's own words; OK for ncclInProgress.
absl::Status StatusOf(ncclResult_t result, const char* what);
absl::Status StatusOf(cudaError_t error, const char* what);

// PCI bus of a GPU, the same in every process of the host.
absl::StatusOr<std::string> GpuIdentity(at::Device device);

ncclDataType_t NcclType(at::ScalarType type);

// A moment of a stream.
class Event {
 public:
  // With `timed`, SecondsSince may be asked.
  explicit Event(bool timed = false);
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  ~Event();
  void Record(cudaStream_t stream);
  void HoldBack(cudaStream_t stream) const;  // what is launched there next waits for the event
  bool HasHappened() const;
  double SecondsSince(const Event& earlier) const;  // both recorded; waits for this one

 private:
  cudaEvent_t event_ = nullptr;
};

class NcclCommunicator {
 public:
  // Every rank calls it, with the id that one of them made.
  static absl::StatusOr<std::unique_ptr<NcclCommunicator>> Create(const ncclUniqueId& id, int rank,
                                                                  int size, at::Device device,
                                                                  double patience_seconds);
  NcclCommunicator(const NcclCommunicator&) = delete;
  NcclCommunicator& operator=(const NcclCommunicator&) = delete;
  ~NcclCommunicator();

  // Starts an operation: call(ncclComm_t). Another thread's Abort waits so long, and no longer.
  template <typename Function>
  absl::Status Start(Function call) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (aborted_) return FailureError("NCCL was aborted");
    return StatusOf(call(communicator_), "NCCL");
  }
  // Whether the last call is still being taken in; or what has gone wrong. Any thread.
  absl::StatusOr<bool> IsBusy() const;
  // Waits until the last call has been taken in, which may connect GPUs first.
  absl::Status WaitUntilTaken(double patience_seconds) const;
  // Ends what is under way, on this rank. Any thread, once.
  void Abort();

 private:
  NcclCommunicator() = default;
  mutable std::mutex mutex_;
  ncclComm_t communicator_ = nullptr;
  bool aborted_ = false;  // under mutex_; the communicator is gone then
};

}  // namespace mixrec::collective
