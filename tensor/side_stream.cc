#include "tensor/side_stream.h"

#include <map>
#include <mutex>

#include "common/log.h"
#ifdef MIXREC_CUDA
#include <ATen/cuda/CUDAEvent.h>
#include <c10/cuda/CUDAGuard.h>
#endif

namespace mixrec::tensor {

#ifdef MIXREC_CUDA
namespace {

// Streams of this process that nobody uses now. They are used again, for the library keeps memory
// for every stream that it has seen. Not those of LibTorch's pool, which may be other threads' own.
class Spares {
 public:
  static Spares& Get() {
    static auto* spares = new Spares();
    return *spares;
  }
  cudaStream_t Take(c10::DeviceIndex device) {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::vector<cudaStream_t>& streams = streams_[device];
    if (streams.empty()) {
      cudaStream_t stream = nullptr;
      C10_CUDA_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
      return stream;
    }
    const cudaStream_t stream = streams.back();
    streams.pop_back();
    return stream;
  }
  void Return(c10::DeviceIndex device, cudaStream_t stream) {
    const std::lock_guard<std::mutex> lock(mutex_);
    streams_[device].push_back(stream);
  }

 private:
  std::mutex mutex_;
  std::map<c10::DeviceIndex, std::vector<cudaStream_t>> streams_;
};

class SpareStream {
 public:
  explicit SpareStream(at::Device device) {
    const c10::cuda::OptionalCUDAGuard guard(device);
    device_ = c10::cuda::current_device();
    stream_ = Spares::Get().Take(device_);
  }
  ~SpareStream() { Spares::Get().Return(device_, stream_); }
  SpareStream(const SpareStream&) = delete;
  SpareStream& operator=(const SpareStream&) = delete;

  c10::cuda::CUDAStream stream() const {
    return c10::cuda::getStreamFromExternal(stream_, device_);
  }

 private:
  cudaStream_t stream_ = nullptr;
  c10::DeviceIndex device_ = 0;
};

}  // namespace

struct SideStream::Streams {
  explicit Streams(at::Device device) : own(device), side(own.stream()) {}
  SpareStream own;
  c10::cuda::CUDAStream side;
  at::cuda::CUDAEvent forked, done;
  bool is_ahead = false;  // something has been forked since the last Join
};
#else
struct SideStream::Streams {};
#endif

SideStream::SideStream([[maybe_unused]] at::Device device) {
#ifdef MIXREC_CUDA
  if (device.is_cuda()) streams_ = std::make_unique<Streams>(device);
#endif
}

SideStream::~SideStream() {
#ifdef MIXREC_CUDA
  if (streams_ == nullptr) return;
  // The stream's next owner may use memory again that the main chain is still reading.
  const auto main = c10::cuda::getCurrentCUDAStream(streams_->side.device_index());
  C10_CUDA_CHECK_WARN(cudaStreamSynchronize(main));
  C10_CUDA_CHECK_WARN(cudaStreamSynchronize(streams_->side));
#endif
}

void SideStream::Run(const std::vector<at::Tensor>& kept, c10::function_ref<void()> work) {
  Fork();
  RunForked(kept, work);
}

void SideStream::Fork() {
#ifdef MIXREC_CUDA
  if (streams_ == nullptr) return;
  const auto main = c10::cuda::getCurrentCUDAStream(streams_->side.device_index());
  CHECK(main != streams_->side) << "side work within side work";
  // Memory of the side's tensors that were dropped is used again by the side's later work alone,
  // which comes after the main chain's kernels that read them.
  streams_->forked.record(main);
  streams_->forked.block(streams_->side);
  streams_->is_ahead = true;
#endif
}

void SideStream::RunForked([[maybe_unused]] const std::vector<at::Tensor>& kept,
                           c10::function_ref<void()> work) {
#ifdef MIXREC_CUDA
  if (streams_ != nullptr) {
    kept_.insert(kept_.end(), kept.begin(), kept.end());
    const c10::cuda::CUDAStreamGuard guard(streams_->side);
    return work();
  }
#endif
  work();
}

void SideStream::Join() {
#ifdef MIXREC_CUDA
  if (streams_ == nullptr || !streams_->is_ahead) return;
  streams_->done.record(streams_->side);
  streams_->done.block(c10::cuda::getCurrentCUDAStream(streams_->side.device_index()));
  streams_->is_ahead = false;
  kept_.clear();
#endif
}

}  // namespace mixrec::tensor
