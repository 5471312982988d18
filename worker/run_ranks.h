// Private to worker/: a training run's ranks. Rank 0 reads and writes files, the others get from it
// what it has read; whatever decides how the run goes on is agreed on. A process without a group is
// rank 0 of itself, and waits for nobody.
#pragma once

#include <functional>
#include <string>

#include "collective/group.h"
#include "common/status.h"
#include "data/step_share.h"
#include "model/safetensors.h"

namespace mixrec::worker {

class RunRanks {
 public:
  // Null: one process. Keeps the pointer.
  explicit RunRanks(collective::Group* group) : group_(group) {}

  bool several() const { return group_ != nullptr; }
  bool leads() const { return group_ == nullptr || group_->rank() == 0; }
  data::PackShare share() const;

  // OK if every rank's status is; otherwise one failure for all. However long a rank takes to read
  // or write files or to validate, the others wait ten minutes for it.
  absl::Status Agree(const absl::Status& mine, const std::string& what) const;
  // Rank 0 alone does something, and all have its status.
  absl::Status OnLeader(const std::string& what, const std::function<absl::Status()>& act) const;
  // Rank 0's text and flag.
  absl::Status Share(const std::string& what, std::string* text) const;
  absl::Status Share(const std::string& what, bool* flag) const;
  // Whether any rank's flag is set.
  absl::StatusOr<bool> Any(bool mine, const std::string& what) const;
  // Everybody's tensors, which are views, become rank 0's.
  absl::Status Share(const std::string& what, const model::NamedTensors& tensors) const;

  // A failure that the other ranks do not know of ends their run, too, with this reason.
  void TellOthers(const absl::Status& status) const;

 private:
  collective::Group* group_;
};

}  // namespace mixrec::worker
