// Parameter servers of a search's own, on this machine: `mixrec ps` as a child process, for the
// tables of its trials.
#pragma once

#include <memory>
#include <string>

#include "common/status.h"
#include "launch/child_process.h"

namespace mixrec::launch {

// The shards end with it. One thread.
class SearchShards {
 public:
  // Starts them and waits until they are ready; what they print goes to FOLDER/shards. A
  // FailureError when they are not in a minute, StoppedError when somebody asks to stop meanwhile.
  static absl::StatusOr<std::unique_ptr<SearchShards>> Start(int shards, const std::string& folder);
  SearchShards(const SearchShards&) = delete;
  SearchShards& operator=(const SearchShards&) = delete;
  ~SearchShards();

  // host:port, for --ps.
  const std::string& address() const { return address_; }
  // A FailureError once they have ended: the tables are gone with them. (Single shards that die are
  // started again by their parent; the trials they served fail and go on from their checkpoints.)
  absl::Status Check();
  bool have_ended() const { return process_ == nullptr; }

 private:
  explicit SearchShards(std::string log) : log_(std::move(log)) {}
  absl::Status AwaitReady();

  const std::string log_;
  std::unique_ptr<ChildProcess> process_;
  std::string address_;
};

}  // namespace mixrec::launch
