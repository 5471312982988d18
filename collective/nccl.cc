#include "collective/nccl.h"

#include <chrono>
#include <thread>

#include "common/log.h"

namespace mixrec::collective {

absl::Status StatusOf(ncclResult_t result, const char* what) {
  if (result == ncclSuccess || result == ncclInProgress) return absl::OkStatus();
  return FailureError(what, ": ", ncclGetErrorString(result));
}

absl::Status StatusOf(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return absl::OkStatus();
  return FailureError(what, ": ", cudaGetErrorString(error));
}

absl::StatusOr<std::string> GpuIdentity(at::Device device) {
  char name[64] = {};
  MIXREC_RETURN_IF_ERROR(
      StatusOf(cudaDeviceGetPCIBusId(name, sizeof(name), device.index()), "the GPU's PCI bus"));
  return std::string(name);
}

ncclDataType_t NcclType(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return ncclFloat32;
    case at::kDouble:
      return ncclFloat64;
    case at::kBFloat16:
      return ncclBfloat16;
    case at::kInt:
      return ncclInt32;
    case at::kLong:
      return ncclInt64;
    case at::kByte:
      return ncclUint8;
    default:
      LOG(FATAL) << "no NCCL type for " << at::toString(type);
  }
}

Event::Event(bool timed) {
  CHECK(cudaEventCreateWithFlags(&event_, timed ? cudaEventDefault : cudaEventDisableTiming) ==
        cudaSuccess);
}
Event::~Event() { cudaEventDestroy(event_); }
void Event::Record(cudaStream_t stream) { CHECK(cudaEventRecord(event_, stream) == cudaSuccess); }
void Event::HoldBack(cudaStream_t stream) const {
  CHECK(cudaStreamWaitEvent(stream, event_, 0) == cudaSuccess);
}
bool Event::HasHappened() const { return cudaEventQuery(event_) != cudaErrorNotReady; }
double Event::SecondsSince(const Event& earlier) const {
  float milliseconds = 0;
  cudaEventSynchronize(event_);
  CHECK(cudaEventElapsedTime(&milliseconds, earlier.event_, event_) == cudaSuccess);
  return 1e-3 * static_cast<double>(milliseconds);
}

absl::StatusOr<std::unique_ptr<NcclCommunicator>> NcclCommunicator::Create(
    const ncclUniqueId& id, int rank, int size, at::Device device, double patience_seconds) {
  MIXREC_RETURN_IF_ERROR(StatusOf(cudaSetDevice(device.index()), "choosing the GPU"));
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  std::unique_ptr<NcclCommunicator> communicator(new NcclCommunicator());
  MIXREC_RETURN_IF_ERROR(StatusOf(
      ncclCommInitRankConfig(&communicator->communicator_, size, id, rank, &config), "NCCL"));
  MIXREC_RETURN_IF_ERROR(communicator->WaitUntilTaken(patience_seconds));
  return communicator;
}

NcclCommunicator::~NcclCommunicator() {
  if (communicator_ == nullptr || aborted_) return;
  ncclCommFinalize(communicator_);
  // A communicator with work that will never end cannot be finalised.
  if (WaitUntilTaken(/*patience_seconds=*/10).ok()) {
    ncclCommDestroy(communicator_);
  } else {
    ncclCommAbort(communicator_);
  }
}

absl::StatusOr<bool> NcclCommunicator::IsBusy() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (aborted_) return FailureError("NCCL was aborted");
  ncclResult_t state = ncclSuccess;
  MIXREC_RETURN_IF_ERROR(StatusOf(ncclCommGetAsyncError(communicator_, &state), "NCCL"));
  MIXREC_RETURN_IF_ERROR(StatusOf(state, "NCCL"));
  return state == ncclInProgress;
}

absl::Status NcclCommunicator::WaitUntilTaken(double patience_seconds) const {
  const auto until =
      std::chrono::steady_clock::now() + std::chrono::duration<double>(patience_seconds);
  while (true) {
    MIXREC_ASSIGN_OR_RETURN(const bool busy, IsBusy());
    if (!busy) return absl::OkStatus();
    if (std::chrono::steady_clock::now() > until) {
      return FailureError("NCCL did not connect the GPUs in ", patience_seconds, " s");
    }
    std::this_thread::sleep_for(std::chrono::microseconds(20));
  }
}

void NcclCommunicator::Abort() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (aborted_) return;
  aborted_ = true;
  ncclCommAbort(communicator_);
}

}  // namespace mixrec::collective
