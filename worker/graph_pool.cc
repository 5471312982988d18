#include "worker/graph_pool.h"

#include <utility>

#include "common/log.h"
#ifdef MIXREC_CUDA
#include <ATen/cuda/CUDAContext.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#endif

namespace mixrec::worker {

#ifdef MIXREC_CUDA

struct GraphPool::Memory {
  at::cuda::MempoolId_t id{0, 0};
};

namespace {

// Keeps the memory that it runs in.
template <typename Memory>
class CudaGraph : public Graph {
 public:
  explicit CudaGraph(std::shared_ptr<Memory> memory) : memory_(std::move(memory)) {
    graph_.capture_begin(memory_->id, cudaStreamCaptureModeThreadLocal);
  }
  void End() {
    graph_.capture_end();
    memory_->id = graph_.pool();
  }
  void Replay() override { graph_.replay(); }

 private:
  std::shared_ptr<Memory> memory_;
  at::cuda::CUDAGraph graph_;
};

}  // namespace

void GraphPool::Finish() const {
  if (device_.is_cuda()) at::cuda::getCurrentCUDAStream().synchronize();
}

// Memory of graphs that are gone is given back by emptyCache alone, and a capture, which is when
// the next training would run out of it, does not call that.
GraphPool::~GraphPool() {
  if (used_) c10::cuda::CUDACachingAllocator::emptyCache();
}

std::vector<std::unique_ptr<Graph>> GraphPool::Capture(
    const std::function<void(const Cut&)>& work) {
  CHECK(captures());
  at::cuda::getCurrentCUDAStream().synchronize();
  std::vector<std::unique_ptr<Graph>> graphs;
  {
    // The default stream cannot be captured. Streams of the pool may be other threads' own.
    const auto current = at::cuda::getCurrentCUDAStream();
    const bool own = current != at::cuda::getDefaultCUDAStream();
    const c10::cuda::CUDAStreamGuard guard(own ? current : at::cuda::getStreamFromPool());
    std::shared_ptr<Memory> memory = memory_.lock();
    if (memory == nullptr) memory = std::make_shared<Memory>();
    memory_ = memory;
    auto graph = std::make_unique<CudaGraph<Memory>>(memory);
    const auto end = [&] {
      graph->End();
      graphs.push_back(std::move(graph));
    };
    work([&] {
      end();
      graph = std::make_unique<CudaGraph<Memory>>(memory);
    });
    end();
  }
  used_ = true;
  // Steps before the first capture left blocks that no captured step will use.
  c10::cuda::CUDACachingAllocator::emptyCache();
  return graphs;
}

#else

struct GraphPool::Memory {};

void GraphPool::Finish() const {}
GraphPool::~GraphPool() = default;
std::vector<std::unique_ptr<Graph>> GraphPool::Capture(const std::function<void(const Cut&)>&) {
  LOG(FATAL) << "a build without CUDA captures nothing";
}

#endif

}  // namespace mixrec::worker
