// The safetensors format: 8 bytes of header length (little endian), a JSON header that gives every
// tensor's dtype, shape and byte range, then the values, without gaps (docs/checkpoint_formats.md).
#pragma once

#include <ATen/ATen.h>

#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/file.h"
#include "common/status.h"
#include "model/tensor_source.h"

namespace mixrec::model {

class SafetensorsFile : public TensorSource {
 public:
  // Maps the file and checks its whole header against its size. DataError names the file and, where
  // there is one, the tensor.
  static absl::StatusOr<SafetensorsFile> Open(const std::string& path);

  std::vector<std::string> names() const override { return names_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const TensorInfo* Find(const std::string& name) const override;
  // Copies the values: the tensor does not depend on the file any more.
  absl::StatusOr<at::Tensor> Get(const std::string& name) override;
  std::string PathOf(const std::string&) const override { return path_; }
  std::vector<std::string> files() const override { return {path_}; }

 private:
  struct Entry {
    TensorInfo info;
    size_t begin = 0;  // in bytes_
  };
  friend class SafetensorsHeader;

  std::string path_;
  MappedFile file_;
  std::string_view bytes_;  // the part of the file after the header
  std::vector<std::string> names_;
  std::unordered_map<std::string, Entry> entries_;
  std::map<std::string, std::string> metadata_;
};

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

// Writes the tensors so that a reader or a crash sees the old file or the whole new one; one tensor
// at a time goes through memory. The same input gives the same bytes. Values are stored with wider
// dtypes first (so that every tensor is aligned), otherwise in the order given.
absl::Status WriteSafetensors(const std::string& path, const NamedTensors& tensors,
                              const std::map<std::string, std::string>& metadata);

// The same with every tensor converted to `dtype`, one after the other.
absl::Status WriteSafetensorsAs(const std::string& path, const NamedTensors& tensors,
                                const std::map<std::string, std::string>& metadata,
                                at::ScalarType dtype);

}  // namespace mixrec::model
