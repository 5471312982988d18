#include "collective/host_group.h"

#include <utility>

#include "common/log.h"

namespace mixrec::collective {
namespace {

// Tags: the group's space, the operation's number, the round. Within MPI's 2^31.
constexpr int kNumbers = 1 << 20;

Element ElementOf(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return Element::kFloat;
    case at::kDouble:
      return Element::kDouble;
    case at::kInt:
      return Element::kInt;
    case at::kLong:
      return Element::kLong;
    default:
      LOG(FATAL) << "no sums over ranks of " << at::toString(tensor.scalar_type());
  }
}

void CheckPlain(const at::Tensor& tensor) {
  CHECK(tensor.is_cpu() && tensor.is_contiguous()) << "a contiguous tensor in host memory";
}

}  // namespace

HostGroup::HostGroup(Engine* engine, std::vector<Member> members, std::vector<int> world_ranks,
                     int rank, int space)
    : engine_(engine),
      members_(std::move(members)),
      party_{std::move(world_ranks), rank},
      space_(space) {
  CHECK_EQ(members_.size(), party_.world_ranks.size());
}

int HostGroup::NextTag() {
  sequence_ = (sequence_ + 1) % kNumbers;
  return (space_ * kNumbers + sequence_) * 2 + 1;
}

Group::Ticket HostGroup::Start(std::unique_ptr<Operation> operation,
                               std::vector<at::Tensor> tensors, const std::string& what) {
  Engine::Task task;
  task.operation = std::move(operation);
  task.tensors = std::move(tensors);
  task.what = what;
  task.patience_seconds = patience_seconds_;
  task.name = [this](int rank) { return Describe(members_[static_cast<size_t>(rank)]); };
  task.world_ranks = party_.world_ranks;
  return engine_->Start(std::move(task));
}

Group::Ticket HostGroup::StartAllReduce(at::Tensor tensor, const std::string& what) {
  CheckPlain(tensor);
  return Start(
      MakeAllReduce(party_, NextTag(), ElementOf(tensor), tensor.data_ptr(), tensor.numel()),
      {tensor}, what);
}

Group::Ticket HostGroup::StartAllGather(const at::Tensor& mine, at::Tensor all,
                                        const std::string& what) {
  CheckPlain(mine);
  CheckPlain(all);
  CHECK(all.numel() == mine.numel() * size() && all.scalar_type() == mine.scalar_type());
  return Start(MakeAllGather(party_, NextTag(), mine.data_ptr(), all.data_ptr(), mine.nbytes()),
               {mine, all}, what);
}

Group::Ticket HostGroup::StartReduceScatter(const at::Tensor& all, at::Tensor mine,
                                            const std::string& what) {
  CheckPlain(mine);
  CheckPlain(all);
  CHECK(all.numel() == mine.numel() * size() && all.scalar_type() == mine.scalar_type());
  return Start(MakeReduceScatter(party_, NextTag(), ElementOf(mine), all.data_ptr(),
                                 mine.data_ptr(), mine.numel()),
               {mine, all}, what);
}

Group::Ticket HostGroup::StartBroadcast(at::Tensor tensor, int root, const std::string& what) {
  CheckPlain(tensor);
  return Start(MakeBroadcast(party_, NextTag(), root, tensor.data_ptr(), tensor.nbytes()), {tensor},
               what);
}

}  // namespace mixrec::collective
