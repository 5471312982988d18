#include "launch/run_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <utility>

#include "common/file.h"
#include "launch/build_info.h"
#include "launch/clock_text.h"
#include "launch/flag_reader.h"

namespace mixrec::launch {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

const char* StateName(RunState state) {
  switch (state) {
    case RunState::kRunning:
      return "running";
    case RunState::kFinished:
      return "finished";
    case RunState::kStopped:
      return "stopped";
    case RunState::kFailed:
      break;
  }
  return "failed";
}

// The locked descriptor of FOLDER/lock, which holds the owner's name for the message.
absl::StatusOr<int> LockFolder(const std::string& folder) {
  const std::string path = StrCat(folder, "/lock");
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (file < 0) return FailureError("cannot write in ", folder, ": ", std::strerror(errno));
  if (::flock(file, LOCK_EX | LOCK_NB) != 0) {
    char owner[256] = {};
    const ssize_t size = ::pread(file, owner, sizeof(owner) - 1, 0);
    ::close(file);
    return absl::UnavailableError(StrCat(folder, " is in use by ",
                                         size > 0 ? owner : "another process",
                                         "; wait for it, stop it, or choose another --out"));
  }
  const std::string owner = StrCat("process ", ::getpid(), " on ", HostName());
  const bool written = ::ftruncate(file, 0) == 0 &&
                       ::pwrite(file, owner.data(), owner.size(), 0) == ssize_t(owner.size());
  if (written) return file;
  ::close(file);
  return FailureError("cannot write ", path, ": ", std::strerror(errno));
}

// Moves everything but the lock, and earlier such folders, to FOLDER/previous.N.
absl::Status SetAside(const std::string& folder) {
  int number = 1;
  while (PathExists(StrCat(folder, "/previous.", number))) ++number;
  const fs::path target = StrCat(folder, "/previous.", number);
  std::error_code error;
  fs::create_directory(target, error);
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;) {
    const fs::path path = entry->path();
    entry.increment(error);
    const std::string name = path.filename().string();
    if (name == "lock" || name.rfind("previous.", 0) == 0) continue;
    fs::rename(path, target / name, error);
  }
  if (error) return FailureError("cannot move ", folder, "'s old run aside: ", error.message());
  return absl::OkStatus();
}

Json BuildRecord() {
  const BuildInfo build = ThisBuild();
  return {{"type", build.type},   {"compiler", build.compiler}, {"cpu", build.cpu},
          {"torch", build.torch}, {"cuda", build.cuda},         {"sanitizers", build.sanitizers}};
}

std::string ResolvedFlags(const RunRequest& request) {
  std::string text = StrCat("# mixrec ", request.verb, " --flagfile=THIS_FILE\n");
  for (const auto& [name, value] : request.flags) {
    if (name == "dry_run" || name == "resume" || name == "resume_allow" || name == "max_walltime" ||
        name == "simulate_preemption") {
      continue;  // they belong to one start of the program, not to the run
    }
    text += StrCat(FlagFileLine(name, value), "\n");
  }
  return text;
}

}  // namespace

absl::StatusOr<RunFolder> RunFolder::Open(const RunRequest& request) {
  if (request.folder.empty()) return UsageError("--out is missing: the folder to write to");
  MIXREC_RETURN_IF_ERROR(MakeFolder(request.folder));
  MIXREC_ASSIGN_OR_RETURN(const int lock, LockFolder(request.folder));
  RunFolder run(request.folder, lock);
  MIXREC_RETURN_IF_ERROR(run.Begin(request));
  return run;
}

RunFolder RunFolder::Visit(const std::string& folder, const std::string& id) {
  RunFolder run(folder, -1);
  run.record_["run_id"] = id;
  return run;
}

absl::Status RunFolder::Begin(const RunRequest& request) {
  int starts = 0;
  if (PathExists(File("run.json"))) {
    if (request.resume == "auto") {
      MIXREC_ASSIGN_OR_RETURN(record_, ReadRunRecord(folder_));
      MIXREC_RETURN_IF_ERROR(CheckSameRun(request, record_));
      continues_ = true;
      starts = record_.value("starts", 0);
    } else {
      MIXREC_RETURN_IF_ERROR(SetAside(folder_));
      record_ = Json::object();
    }
  }
  const BuildInfo build = ThisBuild();
  record_["format"] = 1;
  record_["command"] = request.verb;
  record_["version"] = build.version;
  record_["git"] = build.git;
  record_["build"] = BuildRecord();
  record_["argv"] = request.arguments;
  record_["host"] = HostName();
  record_["process"] = ::getpid();
  record_["flags"] = request.flags;
  for (const auto& [name, input] : request.inputs) {
    record_["inputs"][name] = {{"path", fs::absolute(input.path).string()}, {"hash", input.hash}};
  }
  record_["config_hash"] = ConfigHash(request);
  if (!record_.contains("run_id")) record_["run_id"] = UniqueName(folder_);
  if (!continues_) record_["created"] = UtcNow();
  record_["started"] = UtcNow();
  record_["finished"] = nullptr;
  record_["starts"] = starts + 1;
  record_["state"] = StateName(RunState::kRunning);
  MIXREC_RETURN_IF_ERROR(WriteFileAtomic(File("flags.resolved"), ResolvedFlags(request)));
  return Save();
}

RunFolder::RunFolder(RunFolder&& other) noexcept
    : folder_(std::move(other.folder_)),
      lock_(std::exchange(other.lock_, -1)),
      continues_(other.continues_),
      record_(std::move(other.record_)) {}

RunFolder::~RunFolder() {
  if (lock_ >= 0) ::close(lock_);
}

absl::Status RunFolder::Save() const {
  if (lock_ < 0) return absl::OkStatus();  // a visitor
  return WriteFileAtomic(File("run.json"), StrCat(record_.dump(2), "\n"));
}

std::string RunFolder::id() const { return record_.value("run_id", ""); }

absl::Status RunFolder::Record(const std::string& key, Json value) {
  record_[key] = std::move(value);
  return Save();
}

absl::Status RunFolder::Close(const absl::Status& status) {
  const RunState state = status.ok()                                    ? RunState::kFinished
                         : ExitCodeOf(status) == ExitCode::kExitStopped ? RunState::kStopped
                                                                        : RunState::kFailed;
  record_["state"] = StateName(state);
  record_["exit_code"] = static_cast<int>(ExitCodeOf(status));
  record_["message"] = std::string(status.message().data(), status.message().size());
  record_["finished"] = UtcNow();
  const absl::Status saved = Save();
  return status.ok() ? saved : status;
}

std::string UniqueName(const std::string& folder) {
  const auto now = std::chrono::system_clock::now().time_since_epoch().count();
  return StrCat("run-", ContentHash(StrCat(fs::absolute(folder).string(), "\n", HostName(), "\n",
                                           ::getpid(), "\n", now)));
}

absl::StatusOr<Json> ReadRunRecord(const std::string& folder) {
  const std::string path = StrCat(folder, "/run.json");
  absl::StatusOr<std::string> text = ReadFile(path);
  if (!text.ok()) {
    return DataError(folder, " holds no run: ", std::string(text.status().message()));
  }
  Json record = Json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!record.is_object()) return DataError(path, " is not a JSON object; the run is damaged");
  return record;
}

}  // namespace mixrec::launch
