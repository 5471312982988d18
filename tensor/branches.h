// Pieces of work that do not depend on each other, side by side on a GPU: each in a stream of its
// own, after what the current stream was given before and before what it is given next. In a
// captured step they are branches of the graph. On a CPU, one after another.
#pragma once

#include <ATen/ATen.h>
#include <c10/core/Stream.h>

#include <cstdint>
#include <functional>
#include <vector>

namespace mixrec::tensor {

// One thread at a time.
class Branches {
 public:
  Branches(at::Device device, int64_t count);

  int64_t count() const { return count_; }
  // work(0), ..., work(count - 1), with the branch's stream as the current one. Tensors made in a
  // branch may be used after it, and in the same branch of a later call.
  void Each(const std::function<void(int64_t)>& work) const;

 private:
  int64_t count_;
  std::vector<c10::Stream> streams_;  // empty: one after another in the current stream
};

}  // namespace mixrec::tensor
