#include "model/tensor_source.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <unordered_map>

#include "common/file.h"
#include "model/pytorch_bin.h"
#include "model/safetensors.h"

namespace mixrec::model {
namespace {

using Json = nlohmann::ordered_json;

absl::StatusOr<std::unique_ptr<TensorSource>> OpenOne(const std::string& path, bool safetensors) {
  if (safetensors) {
    MIXREC_ASSIGN_OR_RETURN(auto file, SafetensorsFile::Open(path));
    return std::make_unique<SafetensorsFile>(std::move(file));
  }
  MIXREC_ASSIGN_OR_RETURN(auto file, PytorchBin::Open(path));
  return std::make_unique<PytorchBin>(std::move(file));
}

// A checkpoint in several files, with an index that names the file of every tensor.
class ShardedSource : public TensorSource {
 public:
  static absl::StatusOr<std::unique_ptr<TensorSource>> Open(const std::string& folder,
                                                            const std::string& index_path,
                                                            bool safetensors) {
    auto source = std::make_unique<ShardedSource>();
    source->index_path_ = index_path;
    MIXREC_ASSIGN_OR_RETURN(const std::string text, ReadFile(index_path));
    const Json index = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object()) {
      return DataError(index_path, ": not a JSON object with a weight_map");
    }
    for (const auto& [name, file] : index["weight_map"].items()) {
      if (!file.is_string()) return DataError(index_path, ": tensor \"", name, "\" has no file");
      MIXREC_RETURN_IF_ERROR(source->Add(folder, name, file.get<std::string>(), safetensors));
    }
    return source;
  }

  std::vector<std::string> names() const override { return names_; }
  const TensorInfo* Find(const std::string& name) const override {
    const auto found = shard_of_.find(name);
    return found == shard_of_.end() ? nullptr : found->second->Find(name);
  }
  absl::StatusOr<at::Tensor> Get(const std::string& name) override {
    const auto found = shard_of_.find(name);
    if (found == shard_of_.end()) {
      return DataError(index_path_, ": tensor \"", name, "\" is missing");
    }
    return found->second->Get(name);
  }
  std::string PathOf(const std::string& name) const override {
    const auto found = shard_of_.find(name);
    return found == shard_of_.end() ? index_path_ : found->second->PathOf(name);
  }
  std::vector<std::string> files() const override {
    std::vector<std::string> paths = {index_path_};
    for (const auto& [file, shard] : shards_) paths.push_back(shard->PathOf(""));
    return paths;
  }

 private:
  absl::Status Add(const std::string& folder, const std::string& name, const std::string& file,
                   bool safetensors) {
    // A shard lies beside its index; a path would let an index read anything.
    if (file.empty() || file.find('/') != std::string::npos) {
      return DataError(index_path_, ": tensor \"", name, "\": \"", file,
                       "\" is not the name of a file in this folder");
    }
    auto& shard = shards_[file];
    if (shard == nullptr) {
      MIXREC_ASSIGN_OR_RETURN(shard, OpenOne(StrCat(folder, "/", file), safetensors));
    }
    if (shard->Find(name) == nullptr) {
      return DataError(shard->PathOf(name), ": tensor \"", name, "\" is missing; ", index_path_,
                       " says it is there");
    }
    if (shard_of_.emplace(name, shard.get()).second) names_.push_back(name);
    return absl::OkStatus();
  }

  std::string index_path_;
  std::vector<std::string> names_;
  std::map<std::string, std::unique_ptr<TensorSource>> shards_;
  std::unordered_map<std::string, TensorSource*> shard_of_;
};

}  // namespace

int64_t TensorInfo::numel() const {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

std::string ShapeText(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += StrCat(i == 0 ? "" : ", ", shape[i]);
  return text + "]";
}

absl::StatusOr<std::unique_ptr<TensorSource>> OpenCheckpoint(const std::string& folder) {
  for (const bool safetensors : {true, false}) {
    const std::string path =
        StrCat(folder, safetensors ? "/model.safetensors" : "/pytorch_model.bin");
    if (PathExists(path)) return OpenOne(path, safetensors);
    const std::string index = StrCat(path, ".index.json");
    if (PathExists(index)) return ShardedSource::Open(folder, index, safetensors);
  }
  return DataError(folder,
                   ": no weights; expected model.safetensors, model.safetensors.index.json, "
                   "pytorch_model.bin or pytorch_model.bin.index.json");
}

}  // namespace mixrec::model
