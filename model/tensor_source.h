// Where the tensors of a checkpoint come from, whatever its file format.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/status.h"

namespace mixrec::model {

// What a checkpoint says of one tensor before its values are read.
struct TensorInfo {
  at::ScalarType dtype = at::kFloat;
  std::vector<int64_t> shape;

  int64_t numel() const;
  int64_t bytes() const { return numel() * static_cast<int64_t>(c10::elementSize(dtype)); }
};

// "[2, 3]", for messages.
std::string ShapeText(const std::vector<int64_t>& shape);

// One thread at a time.
class TensorSource {
 public:
  virtual ~TensorSource() = default;
  // In the order of the file.
  virtual std::vector<std::string> names() const = 0;
  // nullptr when there is no such tensor.
  virtual const TensorInfo* Find(const std::string& name) const = 0;
  // A contiguous CPU tensor that owns its memory. DataError names the file and the tensor.
  virtual absl::StatusOr<at::Tensor> Get(const std::string& name) = 0;
  // The file a tensor lies in (the checkpoint itself for an unknown name), for messages.
  virtual std::string PathOf(const std::string& name) const = 0;
  // The files that hold the weights, sorted.
  virtual std::vector<std::string> files() const = 0;
};

// The weights in `folder`: model.safetensors, model.safetensors.index.json with its shards,
// pytorch_model.bin or pytorch_model.bin.index.json with its shards, the first that is there.
absl::StatusOr<std::unique_ptr<TensorSource>> OpenCheckpoint(const std::string& folder);

}  // namespace mixrec::model
