#include "worker/checkpoint.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <tuple>

#include "common/file.h"
#include "common/log.h"

namespace mixrec::worker {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr char kManifest[] = "manifest.json";

// step-N, or step-N.R when the same step was saved again.
struct Name {
  int64_t step = 0, revision = 0;
  std::string text() const {
    return revision == 0 ? StrCat("step-", step) : StrCat("step-", step, ".", revision);
  }
  bool operator>(const Name& other) const {
    return std::tie(step, revision) > std::tie(other.step, other.revision);
  }
};

std::optional<Name> ParseName(const std::string& text) {
  constexpr std::string_view kPrefix = "step-";
  if (text.rfind(kPrefix, 0) != 0) return std::nullopt;
  Name name;
  const char* end = text.data() + text.size();
  auto [next, error] = std::from_chars(text.data() + kPrefix.size(), end, name.step);
  if (error != std::errc()) return std::nullopt;
  if (next != end) {
    if (*next != '.') return std::nullopt;
    std::tie(next, error) = [&] {
      const auto result = std::from_chars(next + 1, end, name.revision);
      return std::make_tuple(result.ptr, result.ec);
    }();
    if (error != std::errc() || next != end) return std::nullopt;
  }
  return name.text() == text ? std::optional<Name>(name) : std::nullopt;
}

// The checkpoints of a folder, valid or not, newest first.
std::vector<Name> ListCheckpoints(const std::string& folder) {
  std::vector<Name> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const auto name = ParseName(entry.path().filename().string());
    if (name && !entry.is_symlink(error)) names.push_back(*name);
  }
  std::sort(names.begin(), names.end(), std::greater<>());
  return names;
}

// The name a link points to; empty when there is no such link.
std::string LinkTarget(const std::string& link) {
  std::error_code error;
  const fs::path target = fs::read_symlink(link, error);
  return error ? std::string() : target.string();
}

void RemoveUnfinished(const std::string& folder) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (entry.path().filename().string().rfind(".tmp-", 0) == 0) {
      fs::remove_all(entry.path(), error);
    }
  }
}

}  // namespace

std::string CheckpointsFolder(const std::string& run_folder) { return run_folder + "/checkpoints"; }

// Not of files that a server is writing: a request to save that came twice, since its answer was
// late, is answered twice, the second time when nobody waits for it.
absl::Status WriteManifest(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::recursive_directory_iterator(folder, error)) {
    const bool unfinished = entry.path().filename().string().rfind('.', 0) == 0;
    if (entry.is_directory() || unfinished) continue;
    names.push_back(entry.path().lexically_relative(folder).string());
  }
  if (error) return FailureError("cannot list ", folder, ": ", error.message());
  std::sort(names.begin(), names.end());
  Json files = Json::object();
  for (const std::string& name : names) {
    const std::string path = StrCat(folder, "/", name);
    MIXREC_ASSIGN_OR_RETURN(const std::string hash, FileHash(path));
    files[name] = {{"bytes", fs::file_size(path, error)}, {"hash", hash}};
  }
  const Json manifest{{"format", "mixrec-checkpoint"},
                      {"format_version", kCheckpointFormatVersion},
                      {"files", files}};
  return WriteFileAtomic(StrCat(folder, "/", kManifest), manifest.dump(2) + "\n");
}

absl::Status CheckManifest(const std::string& folder) {
  const std::string path = StrCat(folder, "/", kManifest);
  MIXREC_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  const Json manifest = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!manifest.is_object() || !manifest.contains("files") || !manifest["files"].is_object()) {
    return DataError(path, ": expected a JSON object with \"files\"");
  }
  for (const auto& [name, entry] : manifest["files"].items()) {
    const std::string file = StrCat(folder, "/", name);
    if (!entry.is_object() || !entry.contains("bytes") || !entry["bytes"].is_number_unsigned() ||
        !entry.contains("hash") || !entry["hash"].is_string()) {
      return DataError(path, ": malformed entry ", name);
    }
    std::error_code error;
    const uint64_t bytes = fs::file_size(file, error), expected = entry["bytes"];
    if (error) return DataError(file, ": ", error.message(), "; the checkpoint is damaged");
    if (bytes != expected) {
      return DataError(file, ": expected ", expected, " bytes, found ", bytes,
                       "; the checkpoint is damaged");
    }
    MIXREC_ASSIGN_OR_RETURN(const std::string hash, FileHash(file));
    if (hash != entry["hash"].get<std::string>()) {
      return DataError(file, ": its content is not what was written; the checkpoint is damaged");
    }
  }
  return absl::OkStatus();
}

CheckpointStore::CheckpointStore(std::string run_folder, int keep_last)
    : folder_(CheckpointsFolder(run_folder)), keep_last_(std::max(1, keep_last)) {}

absl::StatusOr<std::string> CheckpointStore::Save(int64_t step, bool best, const Writer& write) {
  MIXREC_RETURN_IF_ERROR(MakeFolder(folder_));
  RemoveUnfinished(folder_);
  Name name{step, 0};
  while (PathExists(StrCat(folder_, "/", name.text()))) ++name.revision;
  const std::string unfinished = StrCat(folder_, "/.tmp-", name.text());
  const std::string final_path = StrCat(folder_, "/", name.text());

  absl::Status status = MakeFolder(unfinished);
  if (status.ok()) status = write(unfinished);
  if (status.ok()) status = WriteManifest(unfinished);
  if (status.ok()) status = SyncFolder(unfinished);
  if (status.ok() && std::rename(unfinished.c_str(), final_path.c_str()) != 0) {
    status = FailureError("cannot rename ", unfinished, " to ", final_path);
  }
  if (!status.ok()) {
    std::error_code ignored;
    fs::remove_all(unfinished, ignored);
    return absl::Status(status.code(),
                        StrCat("no checkpoint at step ", step,
                               " (the earlier ones are intact): ", status.message()));
  }
  MIXREC_RETURN_IF_ERROR(SyncFolder(folder_));
  if (best) MIXREC_RETURN_IF_ERROR(Link(name.text(), "best"));
  MIXREC_RETURN_IF_ERROR(Link(name.text(), "last"));
  MIXREC_RETURN_IF_ERROR(Prune());
  return final_path;
}

absl::Status CheckpointStore::Link(const std::string& name, const std::string& link) {
  const std::string path = StrCat(folder_, "/", link), fresh = StrCat(folder_, "/.tmp-", link);
  std::error_code error;
  fs::remove(fresh, error);
  fs::create_symlink(name, fresh, error);
  if (!error) fs::rename(fresh, path, error);
  if (error) return FailureError("cannot point ", path, " to ", name, ": ", error.message());
  return SyncFolder(folder_);
}

absl::Status CheckpointStore::Prune() {
  const std::string best = LinkTarget(folder_ + "/best"), last = LinkTarget(folder_ + "/last");
  const std::vector<Name> names = ListCheckpoints(folder_);
  for (size_t k = static_cast<size_t>(keep_last_); k < names.size(); ++k) {
    const std::string name = names[k].text(), path = StrCat(folder_, "/", name);
    if (name == best || name == last) continue;
    // Without its manifest it does not exist any more, however far the removal comes.
    std::error_code error;
    fs::remove(StrCat(path, "/", kManifest), error);
    fs::remove_all(path, error);
    if (error) return FailureError("cannot remove ", path, ": ", error.message());
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> CheckpointStore::Newest() const {
  std::vector<std::string> candidates;
  const std::string last = LinkTarget(folder_ + "/last");
  if (!last.empty()) candidates.push_back(last);
  for (const Name& name : ListCheckpoints(folder_)) candidates.push_back(name.text());
  for (const std::string& name : candidates) {
    const std::string path = StrCat(folder_, "/", name);
    const absl::Status valid = CheckManifest(path);
    if (valid.ok()) return path;
    LOG(WARNING) << "passing over the checkpoint " << path << ": " << valid.message();
  }
  return std::string();
}

absl::StatusOr<std::string> FindCheckpoint(const std::string& run_folder,
                                           const std::string& which) {
  const std::string folder = CheckpointsFolder(run_folder);
  if (which == "last") {
    MIXREC_ASSIGN_OR_RETURN(std::string newest, CheckpointStore(run_folder, 1).Newest());
    if (newest.empty()) return DataError(folder, ": no valid checkpoint");
    return newest;
  }
  std::string path = which;
  if (which == "best") {
    const std::string name = LinkTarget(folder + "/best");
    if (name.empty()) {
      return DataError(folder, ": no best checkpoint, since no epoch was validated yet; ",
                       "--checkpoint=last takes the newest one");
    }
    path = StrCat(folder, "/", name);
  }
  if (!PathExists(path)) return DataError("no checkpoint ", path);
  const absl::Status valid = CheckManifest(path);
  if (!valid.ok()) return DataError("checkpoint ", path, ": ", valid.message());
  return path;
}

}  // namespace mixrec::worker
