#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "common/file.h"
#include "common/log.h"
#include "model/safetensors.h"
#include "model/safetensors_dtype.h"

namespace mixrec::model {
namespace {

// A file that takes its final name only when it is whole.
class PendingFile {
 public:
  explicit PendingFile(const std::string& path)
      : path_(path), temporary_(StrCat(path, ".tmp.", ::getpid())) {
    descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (descriptor_ < 0) Fail("cannot create");
  }
  PendingFile(const PendingFile&) = delete;
  PendingFile& operator=(const PendingFile&) = delete;
  ~PendingFile() {
    if (descriptor_ >= 0) {
      ::close(descriptor_);
      ::unlink(temporary_.c_str());
    }
  }

  void Write(const void* data, size_t size) {
    const char* bytes = static_cast<const char*>(data);
    while (status_.ok() && size > 0) {
      const ssize_t written = ::write(descriptor_, bytes, std::min<size_t>(size, 1 << 30));
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) return Fail("cannot write");
      bytes += written;
      size -= static_cast<size_t>(written);
    }
  }

  absl::Status Commit() {
    if (status_.ok() && ::fsync(descriptor_) != 0) Fail("cannot write");
    if (status_.ok() && ::rename(temporary_.c_str(), path_.c_str()) != 0) Fail("cannot replace");
    MIXREC_RETURN_IF_ERROR(status_);
    ::close(descriptor_);
    descriptor_ = -1;
    const std::string folder = std::filesystem::path(path_).parent_path().string();
    return SyncFolder(folder.empty() ? "." : folder);
  }

 private:
  void Fail(const char* what) {
    if (status_.ok()) status_ = FailureError(what, " ", path_, ": ", std::strerror(errno));
  }

  std::string path_, temporary_;
  int descriptor_ = -1;
  absl::Status status_;
};

// Wider dtypes first, so that every tensor starts at a multiple of its element size.
NamedTensors InFileOrder(const NamedTensors& tensors) {
  NamedTensors sorted = tensors;
  std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) {
    return a.second.element_size() > b.second.element_size();
  });
  return sorted;
}

// The length and the JSON, padded with spaces to a multiple of 8 bytes.
absl::StatusOr<std::string> Header(const std::string& path, const NamedTensors& tensors,
                                   const std::map<std::string, std::string>& metadata,
                                   std::optional<at::ScalarType> dtype) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  if (!metadata.empty()) json["__metadata__"] = metadata;
  uint64_t begin = 0;
  for (const auto& [name, tensor] : tensors) {
    const at::ScalarType stored = dtype.value_or(tensor.scalar_type());
    const auto type = SafetensorsNameOf(stored);
    CHECK(type.has_value()) << "no safetensors dtype for tensor " << name;
    CHECK(!json.contains(name)) << "tensor " << name << " is given twice";
    const uint64_t end = begin + static_cast<uint64_t>(tensor.numel()) * c10::elementSize(stored);
    json[name] = {
        {"dtype", *type}, {"shape", tensor.sizes().vec()}, {"data_offsets", {begin, end}}};
    begin = end;
  }
  std::string text;
  try {
    text = json.dump();
  } catch (const nlohmann::json::exception&) {
    return DataError(path, ": a tensor name or a metadata entry is not valid UTF-8");
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t length = text.size();
  std::string header(sizeof(length), '\0');
  std::memcpy(header.data(), &length, sizeof(length));
  return header + text;
}

absl::Status Write(const std::string& path, const NamedTensors& tensors,
                   const std::map<std::string, std::string>& metadata,
                   std::optional<at::ScalarType> dtype) {
  MIXREC_ASSIGN_OR_RETURN(const std::string header, Header(path, tensors, metadata, dtype));
  PendingFile file(path);
  file.Write(header.data(), header.size());
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor values =
        tensor.detach().to(at::kCPU, dtype.value_or(tensor.scalar_type())).contiguous();
    file.Write(values.data_ptr(), values.nbytes());
  }
  return file.Commit();
}

}  // namespace

absl::Status WriteSafetensors(const std::string& path, const NamedTensors& tensors,
                              const std::map<std::string, std::string>& metadata) {
  return Write(path, InFileOrder(tensors), metadata, std::nullopt);
}

absl::Status WriteSafetensorsAs(const std::string& path, const NamedTensors& tensors,
                                const std::map<std::string, std::string>& metadata,
                                at::ScalarType dtype) {
  return Write(path, tensors, metadata, dtype);
}

}  // namespace mixrec::model
