// The folder of a run: who is in it, with which flags, and whether the same run goes on.
//
//   flags.resolved  every flag of the command, re-usable as --flagfile
//   run.json        version, git, build, argv, host, seed, data and backbone with content hashes,
//                   flags, config hash, times, state (docs/commands.md)
//   logs/           log files
//   lock            held by the process that writes here
#pragma once

#include <string>

#include "common/status.h"
#include "launch/run_request.h"
#include "nlohmann/json.hpp"

namespace mixrec::launch {

enum class RunState { kRunning, kFinished, kStopped, kFailed };

// An open run. One process at a time; the lock goes with the object or the process.
class RunFolder {
 public:
  // Makes the folder, or goes on with the run in it when its flags and inputs are the same.
  // UsageError with the differing flags when they are not (DataError for inputs), UnavailableError
  // (a failure) when another process works there. With resume "none", what an earlier run left is
  // moved to FOLDER/previous.N.
  static absl::StatusOr<RunFolder> Open(const RunRequest& request);

  // The same run as another rank sees it, whose rank 0 has it open: nothing is written.
  static RunFolder Visit(const std::string& folder, const std::string& id);

  RunFolder(RunFolder&& other) noexcept;
  RunFolder& operator=(RunFolder&&) = delete;
  RunFolder(const RunFolder&) = delete;
  ~RunFolder();

  const std::string& path() const { return folder_; }
  std::string File(const std::string& name) const { return StrCat(folder_, "/", name); }
  bool continues() const { return continues_; }
  // Of the run, the same after a resume, and nobody else's: its namespace on parameter servers.
  std::string id() const;

  // Adds to run.json.
  absl::Status Record(const std::string& key, nlohmann::json value);
  // Writes how the run ended: by the status, finished, stopped or failed. Returns the status, or
  // the failure to write.
  absl::Status Close(const absl::Status& status);

 private:
  RunFolder(std::string folder, int lock) : folder_(std::move(folder)), lock_(lock) {}
  absl::Status Begin(const RunRequest& request);
  absl::Status Save() const;

  std::string folder_;
  int lock_ = -1;
  bool continues_ = false;
  nlohmann::json record_;
};

// "run-" and what no other call has returned, of any process.
std::string UniqueName(const std::string& folder);

// What run.json of a folder says. DataError when there is none or it cannot be read.
absl::StatusOr<nlohmann::json> ReadRunRecord(const std::string& folder);

}  // namespace mixrec::launch
