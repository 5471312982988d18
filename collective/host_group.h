// Private to collective/: a group for tensors in host memory.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "collective/engine.h"
#include "collective/group.h"

namespace mixrec::collective {

class HostGroup : public Group {
 public:
  // members[k] is process world_ranks[k] of the engine's world. `space` tells groups of a process
  // apart, and is the same for all members.
  HostGroup(Engine* engine, std::vector<Member> members, std::vector<int> world_ranks, int rank,
            int space);

  int rank() const override { return party_.rank; }
  const std::vector<Member>& members() const override { return members_; }
  Ticket StartAllReduce(at::Tensor tensor, const std::string& what) override;
  Ticket StartAllGather(const at::Tensor& mine, at::Tensor all, const std::string& what) override;
  Ticket StartReduceScatter(const at::Tensor& all, at::Tensor mine,
                            const std::string& what) override;
  Ticket StartBroadcast(at::Tensor tensor, int root, const std::string& what) override;
  absl::Status failure() const override { return engine_->failure(); }
  void set_patience(double seconds) override { patience_seconds_ = seconds; }
  double patience() const override { return patience_seconds_; }
  void Abort(const absl::Status& reason) override { engine_->Fail(reason, Describe(self())); }

  const std::vector<int>& world_ranks() const { return party_.world_ranks; }
  Engine* engine() const { return engine_; }

 protected:
  absl::Status DoWait(Ticket ticket) override { return engine_->Wait(ticket); }

 private:
  int NextTag();
  Ticket Start(std::unique_ptr<Operation> operation, std::vector<at::Tensor> tensors,
               const std::string& what);

  Engine* engine_;
  const std::vector<Member> members_;
  const Party party_;
  const int space_;
  int sequence_ = 0;
  double patience_seconds_ = 60;
};

}  // namespace mixrec::collective
