// Work that nobody waits for soon (gradients of weights, sums over rows) beside the main chain of a
// step, whose small kernels leave most of a GPU idle. On a CPU it runs at once.
#pragma once

#include <ATen/ATen.h>
#include <c10/util/FunctionRef.h>

#include <memory>
#include <vector>

namespace mixrec::tensor {

// Belongs to one thread. Captures of CUDA graphs may hold it: a branch that Join brings back.
class SideStream {
 public:
  explicit SideStream(at::Device device);
  ~SideStream();
  SideStream(const SideStream&) = delete;
  SideStream& operator=(const SideStream&) = delete;

  // `work` launches kernels beside what the thread launches from now on, after all it has launched
  // so far. It may read what exists now and is not written before Join; `kept` names the tensors
  // among it that the caller may drop before. Tensors made by `work` may be used after Join.
  void Run(const std::vector<at::Tensor>& kept, c10::function_ref<void()> work);
  // Run in two parts: what the thread launches between them is beside `work`, too.
  void Fork();
  void RunForked(const std::vector<at::Tensor>& kept, c10::function_ref<void()> work);
  // What the thread launches from now on comes after all work run here.
  void Join();

 private:
  struct Streams;
  std::unique_ptr<Streams> streams_;  // null on a CPU
  std::vector<at::Tensor> kept_;
};

}  // namespace mixrec::tensor
