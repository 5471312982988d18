#include "model/checkpoint_values.h"

#include <cmath>

#include "common/file.h"

namespace mixrec::model {
namespace {

// A sum is not finite when a value is not, or (rarely) when it overflows.
bool AllFinite(const at::Tensor& values) {
  if (std::isfinite(values.sum().to(at::kDouble).item<double>())) return true;
  return values.isfinite().all().item<bool>();
}

}  // namespace

absl::StatusOr<int64_t> CheckTensor(const TensorSource& source, const std::string& name,
                                    const std::vector<int64_t>& shape) {
  const TensorInfo* info = source.Find(name);
  if (info == nullptr) {
    return DataError(source.PathOf(name), ": tensor \"", name,
                     "\" is missing; by config.json it should be there");
  }
  if (info->shape != shape) {
    return DataError(source.PathOf(name), ": tensor \"", name, "\" has the shape ",
                     ShapeText(info->shape), ", config.json needs ", ShapeText(shape));
  }
  if (!at::isFloatingType(info->dtype)) {
    return DataError(source.PathOf(name), ": tensor \"", name,
                     "\" holds no floating-point numbers but ", c10::toString(info->dtype));
  }
  return info->bytes();
}

absl::Status CopyTensor(TensorSource* source, const std::string& name, at::Tensor target) {
  MIXREC_ASSIGN_OR_RETURN(const at::Tensor values, source->Get(name));
  if (!AllFinite(values)) {
    return DataError(source->PathOf(name), ": tensor \"", name,
                     "\" holds values that are not finite (damaged file?)");
  }
  target.copy_(values);
  return absl::OkStatus();
}

absl::StatusOr<std::string> CheckpointHash(const std::string& folder, const TensorSource& source) {
  std::vector<std::string> files = {StrCat(folder, "/config.json")};
  for (const std::string& file : source.files()) files.push_back(file);
  std::string hashes;
  for (const std::string& file : files) {
    MIXREC_ASSIGN_OR_RETURN(const std::string hash, FileHash(file));
    hashes += hash;
  }
  return ContentHash(hashes);
}

}  // namespace mixrec::model
