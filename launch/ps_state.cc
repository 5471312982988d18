#include "launch/ps_state.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "common/file.h"
#include "ps/authority.h"

namespace mixrec::launch {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kFirstLine = R"({"format":"mixrec ps state","version":1})";

}  // namespace

absl::StatusOr<std::unique_ptr<PsState>> PsState::Open(const std::string& path) {
  const bool is_new = !PathExists(path);
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (file < 0) return FailureError("cannot open --state=", path, ": ", std::strerror(errno));
  std::unique_ptr<PsState> state(new PsState(path, file));
  if (::flock(file, LOCK_EX | LOCK_NB) != 0) {
    return FailureError(path, " is in use by another `mixrec ps`; end it first, or give this one ",
                        "a --state of its own");
  }
  MIXREC_RETURN_IF_ERROR(state->Load());
  if (state->size_ == 0) MIXREC_RETURN_IF_ERROR(state->Append(std::string(kFirstLine)));
  if (is_new) {
    const std::string folder = std::filesystem::path(path).parent_path().string();
    MIXREC_RETURN_IF_ERROR(SyncFolder(folder.empty() ? "." : folder));
  }
  return state;
}

PsState::~PsState() { ::close(file_); }

absl::Status PsState::Load() {
  MIXREC_ASSIGN_OR_RETURN(const std::string text, ReadFile(path_));
  int number = 0;
  for (size_t begin = 0;;) {
    const size_t end = text.find('\n', begin);
    if (end == std::string::npos) break;
    MIXREC_RETURN_IF_ERROR(LoadLine(text.substr(begin, end - begin), ++number));
    begin = end + 1;
    size_ = static_cast<off_t>(begin);
  }
  // What a crash left of a last line would spoil the next one.
  if (::ftruncate(file_, size_) != 0) {
    return FailureError("cannot write ", path_, ": ", std::strerror(errno));
  }
  return absl::OkStatus();
}

absl::Status PsState::LoadLine(const std::string& line, int number) {
  if (number == 1) {
    if (line == kFirstLine) return absl::OkStatus();
    return DataError(path_, " is no journal of `mixrec ps`; name another file with --state");
  }
  const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (json.is_object() && json.contains("map")) {
    absl::StatusOr<ps::ShardMap> map = ps::MapFromJson(json["map"].dump());
    if (!map.ok()) return DataError(path_, ":", number, ": ", map.status().message());
    map_ = *std::move(map);
    return absl::OkStatus();
  }
  try {
    const Json& process = json.at("process");
    processes_.push_back(
        {process.at("incarnation").get<uint64_t>(), process.at("pid").get<pid_t>()});
    return absl::OkStatus();
  } catch (const Json::exception&) {
    return DataError(path_, ":", number, ": expected a map or a process; delete the file if the ",
                     "shard processes are gone");
  }
}

absl::Status PsState::Append(const std::string& line) {
  const std::string text = line + "\n";
  const ssize_t written = ::write(file_, text.data(), text.size());
  if (written == static_cast<ssize_t>(text.size()) && ::fdatasync(file_) == 0) {
    size_ += written;
    return absl::OkStatus();
  }
  const int error = written < 0 ? errno : ENOSPC;
  [[maybe_unused]] const int cut = ::ftruncate(file_, size_);
  return FailureError("cannot write ", path_, ": ", std::strerror(error));
}

absl::Status PsState::AddMap(const ps::ShardMap& map) {
  return Append(StrCat("{\"map\":", ps::MapToJson(map), "}"));
}

absl::Status PsState::AddProcess(const ShardProcess& process) {
  const Json numbers{{"incarnation", process.incarnation}, {"pid", process.pid}};
  return Append(Json{{"process", numbers}}.dump());
}

}  // namespace mixrec::launch
