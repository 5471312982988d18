#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "common/file.h"
#include "common/log.h"
#include "model/backbone.h"
#include "model/tensor_source.h"

namespace mixrec::model {
namespace {

constexpr std::array<const char*, 3> kPrefixes = {"model.decoder.", "decoder.", ""};

// The prefix of the decoder's tensors; the full one when none fits, so that messages use it.
std::string FindPrefix(const TensorSource& source) {
  for (const char* prefix : kPrefixes) {
    if (source.Find(StrCat(prefix, "embed_tokens.weight")) != nullptr) return prefix;
  }
  return kPrefixes[0];
}

// Every tensor of the configuration is there, with its shape and floating-point values. Returns the
// bytes of the largest.
absl::StatusOr<int64_t> CheckTensors(const TensorSource& source, const std::string& prefix,
                                     const OptConfig& config) {
  const Backbone shapes = AllocateBackbone(config, at::kMeta, at::kFloat);
  int64_t largest = 0;
  for (const auto& [name, expected] : CheckpointTensors(shapes)) {
    const std::string full = prefix + name;
    const TensorInfo* info = source.Find(full);
    if (info == nullptr) {
      return DataError(source.PathOf(full), ": tensor \"", full, "\" is missing; config.json says ",
                       config.layers, " layers, so it should be there");
    }
    if (info->shape != expected.sizes().vec()) {
      return DataError(source.PathOf(full), ": tensor \"", full, "\" has the shape ",
                       ShapeText(info->shape), ", config.json needs ",
                       ShapeText(expected.sizes().vec()));
    }
    if (!at::isFloatingType(info->dtype)) {
      return DataError(source.PathOf(full), ": tensor \"", full,
                       "\" holds no floating-point numbers but ", c10::toString(info->dtype));
    }
    largest = std::max(largest, info->bytes());
  }
  return largest;
}

// A sum is not finite when a value is not, or (rarely) when it overflows.
bool AllFinite(const at::Tensor& values) {
  if (std::isfinite(values.sum().to(at::kDouble).item<double>())) return true;
  return values.isfinite().all().item<bool>();
}

absl::Status CopyTensors(TensorSource* source, const std::string& prefix, Backbone* backbone) {
  for (auto& [name, target] : CheckpointTensors(*backbone)) {
    const std::string full = prefix + name;
    MIXREC_ASSIGN_OR_RETURN(const at::Tensor values, source->Get(full));
    if (!AllFinite(values)) {
      return DataError(source->PathOf(full), ": tensor \"", full,
                       "\" holds values that are not finite (damaged file?)");
    }
    target.copy_(values);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> HashFiles(const std::string& folder, const TensorSource& source) {
  std::vector<std::string> files = {StrCat(folder, "/config.json")};
  for (const std::string& file : source.files()) files.push_back(file);
  std::string hashes;
  for (const std::string& file : files) {
    MIXREC_ASSIGN_OR_RETURN(const std::string hash, FileHash(file));
    hashes += hash;
  }
  return ContentHash(hashes);
}

absl::StatusOr<Backbone> Load(const std::string& folder, at::Device device, at::ScalarType dtype) {
  MIXREC_ASSIGN_OR_RETURN(const OptConfig config, ReadOptConfig(folder));
  MIXREC_ASSIGN_OR_RETURN(const auto source, OpenCheckpoint(folder));
  const std::string prefix = FindPrefix(*source);
  MIXREC_ASSIGN_OR_RETURN(const int64_t largest, CheckTensors(*source, prefix, config));
  // One tensor at a time passes through the host in the file's dtype.
  const int64_t resident = device.is_cpu() ? BackboneBytes(config, dtype) : 0;
  MIXREC_RETURN_IF_ERROR(CheckHostMemory(StrCat("the backbone ", folder), resident + 2 * largest));
  Backbone backbone = AllocateBackbone(config, device, dtype);
  MIXREC_RETURN_IF_ERROR(CopyTensors(source.get(), prefix, &backbone));
  MIXREC_ASSIGN_OR_RETURN(backbone.content_hash, HashFiles(folder, *source));
  return backbone;
}

}  // namespace

absl::StatusOr<Backbone> LoadBackbone(const std::string& folder, at::Device device,
                                      at::ScalarType dtype) {
  CHECK(at::isFloatingType(dtype)) << "a backbone's dtype is a floating-point type";
  const at::NoGradGuard no_gradient;
  try {
    return Load(folder, device, dtype);
  } catch (const c10::OutOfMemoryError&) {
    return MemoryError("the backbone ", folder, " does not fit into the memory of ", device.str(),
                       "; use a smaller one, or a narrower dtype");
  } catch (const std::bad_alloc&) {
    return MemoryError("the backbone ", folder, " does not fit into memory");
  } catch (const c10::Error& error) {
    const std::string text = error.what_without_backtrace();
    return FailureError("cannot load the backbone ", folder, ": ", text.substr(0, text.find('\n')));
  }
}

}  // namespace mixrec::model
