#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <array>
#include <string>

#include "common/file.h"
#include "common/log.h"
#include "model/backbone.h"
#include "model/backbone_create.h"
#include "model/checkpoint_values.h"
#include "model/safetensors.h"
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
    MIXREC_ASSIGN_OR_RETURN(const int64_t bytes,
                            CheckTensor(source, prefix + name, expected.sizes().vec()));
    largest = std::max(largest, bytes);
  }
  return largest;
}

// sequence_start, where the folder has one.
absl::Status LoadSpecialTokens(const std::string& folder, at::Device device, Backbone* backbone) {
  const std::string path = SpecialTokensPath(folder);
  if (!PathExists(path)) return absl::OkStatus();
  MIXREC_ASSIGN_OR_RETURN(SafetensorsFile file, SafetensorsFile::Open(path));
  const int64_t width = backbone->config.word_width;
  MIXREC_RETURN_IF_ERROR(CheckTensor(file, "sequence", {width}).status());
  backbone->sequence_start =
      at::empty({width}, at::TensorOptions().device(device).dtype(at::kFloat));
  MIXREC_RETURN_IF_ERROR(CopyTensor(&file, "sequence", backbone->sequence_start));
  MIXREC_ASSIGN_OR_RETURN(const std::string hash, FileHash(path));
  backbone->content_hash = ContentHash(backbone->content_hash + hash);
  return absl::OkStatus();
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
  for (const auto& [name, target] : CheckpointTensors(backbone)) {
    MIXREC_RETURN_IF_ERROR(CopyTensor(source.get(), prefix + name, target));
  }
  MIXREC_ASSIGN_OR_RETURN(backbone.content_hash, CheckpointHash(folder, *source));
  MIXREC_RETURN_IF_ERROR(LoadSpecialTokens(folder, device, &backbone));
  return backbone;
}

}  // namespace

absl::StatusOr<Backbone> LoadBackbone(const std::string& folder, at::Device device,
                                      at::ScalarType dtype) {
  CHECK(at::isFloatingType(dtype)) << "a backbone's dtype is a floating-point type";
  const at::NoGradGuard no_gradient;
  return CatchLoading(StrCat("the backbone ", folder), device,
                      [&] { return Load(folder, device, dtype); });
}

}  // namespace mixrec::model
