// What becomes of a trial and of its lease, each in the journal before anybody hears of it.
#include <utility>

#include "scheduler/scheduler.h"

namespace mixrec::scheduler {

absl::Status Scheduler::FreeLeasesOf(const std::string& group, bool counts,
                                     const std::string& why) {
  std::vector<int> numbers;
  for (const auto& [number, held] : leases_) {
    if (held.lease.group == group) numbers.push_back(number);
  }
  for (const int number : numbers) {
    MIXREC_RETURN_IF_ERROR(
        FreeOrFail(number, counts, Failure::kLost, StrCat("group ", group, " ", why), {}, ""));
  }
  return absl::OkStatus();
}

absl::Status Scheduler::FreeOrFail(int number, bool counts, Failure failure, const std::string& why,
                                   const Outcome& outcome, const std::string& avoid) {
  Lease lease = leases_.at(number).lease;
  const auto& scores = Find(number)->intermediate_values;
  const int epochs = scores.empty() ? 0 : scores.rbegin()->first;
  if (epochs > lease.epochs) lease.retries = 0;
  if (counts) ++lease.retries;
  if (lease.retries > options_.retries) {
    return Fail(number, failure,
                StrCat(why, "; that was attempt ", lease.attempt, ", and ", lease.retries,
                       " in a row did not finish an epoch"),
                outcome.log);
  }
  lease.last = lease.group;
  lease.group.clear();
  lease.epochs = epochs;
  lease.why = why;
  lease.avoid = avoid;
  Report(StrCat("trial ", number, " waits for a group: ", why));
  return SetLease(number, lease, 0);
}

absl::Status Scheduler::Finish(int number, TrialState state, double value, double seconds,
                               const std::string& group, int attempt) {
  std::map<std::string, nlohmann::json> attributes{
      {kResultOfAttribute, {{"group", group}, {"attempt", attempt}}}};
  if (seconds > 0) attributes[kSecondsAttribute] = seconds;
  MIXREC_RETURN_IF_ERROR(journal_->FinishTrial(number, state, value, attributes));
  leases_.erase(number);
  waiting_.erase(number);
  ++succeeded_;
  Report(StrCat("trial ", number, ": ", value, state == TrialState::kPruned ? " (pruned)" : "",
                ", from group ", group, ", attempt ", attempt));
  strategy_->Told(*Find(number));
  return absl::OkStatus();
}

absl::Status Scheduler::Fail(int number, Failure failure, const std::string& reason,
                             const std::string& log) {
  std::map<std::string, nlohmann::json> attributes{{kReasonAttribute, reason},
                                                   {kFailureAttribute, FailureName(failure)}};
  if (!log.empty()) attributes[kLogAttribute] = log;
  MIXREC_RETURN_IF_ERROR(
      journal_->FinishTrial(number, TrialState::kFailed, std::nullopt, attributes));
  leases_.erase(number);
  waiting_.erase(number);
  ++failed_;
  Report(StrCat("trial ", number, " failed (", FailureName(failure), "): ", reason));
  strategy_->Told(*Find(number));
  return absl::OkStatus();
}

absl::Status Scheduler::SetLease(int number, Lease lease, net::Time expires) {
  lease.at = journal_->Now();
  MIXREC_RETURN_IF_ERROR(journal_->SetTrialAttribute(number, kLeaseAttribute, LeaseToJson(lease)));
  leases_.erase(number);
  waiting_.erase(number);
  if (lease.held()) {
    leases_[number] = {std::move(lease), expires};
  } else {
    waiting_[number] = std::move(lease);
  }
  return absl::OkStatus();
}

absl::Status Scheduler::SetGroup(Group* group, const GroupRecord& record) {
  group->record = record;
  group->record.at = journal_->Now();
  return journal_->SetStudyAttribute(StrCat(kGroupPrefix, record.name), GroupToJson(group->record));
}

}  // namespace mixrec::scheduler
