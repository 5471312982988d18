#include "worker/run_ranks.h"

#include <vector>

namespace mixrec::worker {
namespace {

constexpr double kPatienceSeconds = 600;

}  // namespace

data::PackShare RunRanks::share() const {
  return group_ == nullptr ? data::PackShare() : data::PackShare{group_->rank(), group_->size()};
}

absl::Status RunRanks::Agree(const absl::Status& mine, const std::string& what) const {
  if (group_ == nullptr) return mine;
  const collective::Patience patience(group_, kPatienceSeconds);
  return collective::Agree(group_, mine, what);
}

absl::Status RunRanks::OnLeader(const std::string& what,
                                const std::function<absl::Status()>& act) const {
  if (!leads()) return Agree(absl::OkStatus(), what);
  // It has done its part: who does not come now is stuck.
  const absl::Status mine = act();
  return group_ == nullptr ? mine : collective::Agree(group_, mine, what);
}

absl::Status RunRanks::Share(const std::string& what, std::string* text) const {
  if (group_ == nullptr) return absl::OkStatus();
  return collective::BroadcastText(group_, /*root=*/0, what, text);
}

absl::Status RunRanks::Share(const std::string& what, bool* flag) const {
  if (group_ == nullptr) return absl::OkStatus();
  const at::Tensor value = at::full({1}, *flag ? 1 : 0, at::kLong);
  MIXREC_RETURN_IF_ERROR(group_->Broadcast(value, /*root=*/0, what));
  *flag = value.item<int64_t>() != 0;
  return absl::OkStatus();
}

absl::StatusOr<bool> RunRanks::Any(bool mine, const std::string& what) const {
  if (group_ == nullptr) return mine;
  const at::Tensor count = at::full({1}, mine ? 1 : 0, at::kLong);
  MIXREC_RETURN_IF_ERROR(group_->AllReduce(count, what));
  return count.item<int64_t>() > 0;
}

absl::Status RunRanks::Share(const std::string& what, const model::NamedTensors& tensors) const {
  if (group_ == nullptr) return absl::OkStatus();
  const collective::Patience patience(group_, kPatienceSeconds);
  for (const auto& [name, view] : tensors) {
    at::Tensor values = view;
    const at::Tensor sent = view.contiguous();
    MIXREC_RETURN_IF_ERROR(group_->Broadcast(sent, /*root=*/0, StrCat(what, ": ", name)));
    if (!leads() && !sent.is_same(values)) values.copy_(sent);
  }
  return absl::OkStatus();
}

void RunRanks::TellOthers(const absl::Status& status) const {
  if (group_ == nullptr || status.ok() || absl::IsCancelled(status)) return;
  if (!collective::IsAgreed(status)) group_->Abort(status);
}

}  // namespace mixrec::worker
