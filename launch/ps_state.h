// The journal of an authority (`mixrec ps --state=FILE`): every shard map it decided on and every
// shard process it started, one JSON object a line.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/status.h"
#include "ps/shard_map.h"

namespace mixrec::launch {

struct ShardProcess {
  uint64_t incarnation = 0;
  pid_t pid = 0;
};

class PsState {
 public:
  // Opens or makes the file and locks it. FailureError when another process has it, DataError when
  // it is no such journal. A last line that was cut short by a crash is dropped.
  static absl::StatusOr<std::unique_ptr<PsState>> Open(const std::string& path);
  PsState(const PsState&) = delete;
  PsState& operator=(const PsState&) = delete;
  ~PsState();

  // What the journal said when it was opened; version 0: no map.
  const ps::ShardMap& map() const { return map_; }
  const std::vector<ShardProcess>& processes() const { return processes_; }

  // On disk when they return.
  absl::Status AddMap(const ps::ShardMap& map);
  absl::Status AddProcess(const ShardProcess& process);

 private:
  PsState(std::string path, int file) : path_(std::move(path)), file_(file) {}
  absl::Status Load();
  absl::Status LoadLine(const std::string& line, int number);
  absl::Status Append(const std::string& line);

  const std::string path_;
  int file_;
  off_t size_ = 0;  // of its whole lines
  ps::ShardMap map_;
  std::vector<ShardProcess> processes_;
};

}  // namespace mixrec::launch
