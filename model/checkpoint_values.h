// Reading the tensors of a checkpoint into tensors of a model, with everything checked. Private to
// the room.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>
#include <vector>

#include "common/status.h"
#include "model/tensor_source.h"

namespace mixrec::model {

// The tensor is there, has this shape and floating-point values; returns its bytes. DataError names
// the file and the tensor.
absl::StatusOr<int64_t> CheckTensor(const TensorSource& source, const std::string& name,
                                    const std::vector<int64_t>& shape);

// Its values, converted, into `target` (of the same shape). Values that are not finite are a
// DataError.
absl::Status CopyTensor(TensorSource* source, const std::string& name, at::Tensor target);

// Hash of config.json and the weight files.
absl::StatusOr<std::string> CheckpointHash(const std::string& folder, const TensorSource& source);

// Runs `load` and makes what LibTorch throws a Status about `what` ("the backbone DIR").
template <typename Load>
auto CatchLoading(const std::string& what, at::Device device, const Load& load)
    -> decltype(load()) {
  try {
    return load();
  } catch (const c10::OutOfMemoryError&) {
    return MemoryError(what, " does not fit into the memory of ", device.str(),
                       "; use a smaller one, or a narrower dtype");
  } catch (const std::bad_alloc&) {
    return MemoryError(what, " does not fit into memory");
  } catch (const c10::Error& error) {
    const std::string text = error.what_without_backtrace();
    return FailureError("cannot load ", what, ": ", text.substr(0, text.find('\n')));
  }
}

}  // namespace mixrec::model
