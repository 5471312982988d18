// pytorch_model.bin: a zip archive with a pickle (data.pkl) that describes a state dict, and one
// record a storage (data/KEY). Only what a state dict needs is understood; a pickle that asks for
// anything else, such as a function of the operating system, is refused by name.
#pragma once

#include <ATen/ATen.h>

#include <memory>
#include <string>
#include <vector>

#include "common/status.h"
#include "model/tensor_source.h"

namespace mixrec::model {

class PytorchBin : public TensorSource {
 public:
  // Reads the archive's directory and its pickle; every tensor is checked against its record's
  // size. DataError names the file and, where there is one, the tensor.
  static absl::StatusOr<PytorchBin> Open(const std::string& path);
  PytorchBin(PytorchBin&&) noexcept;
  PytorchBin& operator=(PytorchBin&&) noexcept;
  ~PytorchBin() override;

  std::vector<std::string> names() const override;
  const TensorInfo* Find(const std::string& name) const override;
  absl::StatusOr<at::Tensor> Get(const std::string& name) override;
  std::string PathOf(const std::string& name) const override;
  std::vector<std::string> files() const override;

 private:
  class Impl;
  PytorchBin();
  std::unique_ptr<Impl> impl_;
};

}  // namespace mixrec::model
