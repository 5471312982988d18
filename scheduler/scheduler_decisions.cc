// What follows from what the scheduler knows: leases that end, trials that are given out, the end.
#include <algorithm>
#include <utility>

#include "scheduler/codec.h"
#include "scheduler/scheduler.h"

namespace mixrec::scheduler {
namespace {

constexpr int kLingerHeartbeats = 3;

double Seconds(net::Time time) { return static_cast<double>(time) / net::kSecond; }

}  // namespace

bool Scheduler::Advance(net::Outbox* out) {
  const net::Time now = out->now();
  absl::Status status = Expire(now);
  if (status.ok()) status = ConcludeIfOver(now);
  if (status.ok() && phase_ == StudyPhase::kRunning && !draining_) status = Grant(now);
  if (!status.ok()) {
    End(status, out);
    return false;
  }
  if (draining_ && phase_ == StudyPhase::kRunning && (leases_.empty() || now >= drain_until_)) {
    const std::string reason = StrCat("stopped with ", leases_.size(), " trial(s) out");
    status = Conclude(StudyPhase::kStopped, reason, now);
    End(status.ok() ? StoppedError(reason, "; the same command goes on") : status, out);
    // Who has just given the last one back is answered, and need not wait for it. Where trials are
    // out nobody hears of an end: they go on.
    return status.ok() && leases_.empty();
  }
  if (phase_ == StudyPhase::kRunning) return true;
  const bool all_know = std::none_of(groups_.begin(), groups_.end(), [](const auto& group) {
    return group.second.record.state == GroupState::kAlive;
  });
  if (!all_know && now < linger_until_) return true;
  SpeakUnasked(out);
  End(phase_ == StudyPhase::kFailed ? FailureError(reason_) : absl::OkStatus(), out);
  return true;  // who has just left may be answered
}

void Scheduler::End(absl::Status result, net::Outbox* out) {
  if (ended_) return;
  ended_ = true;
  result_ = std::move(result);
  out->Stop();
}

absl::Status Scheduler::Expire(net::Time now) {
  for (auto& [name, group] : groups_) {
    if (group.record.state != GroupState::kAlive || now - group.heard < options_.lease) continue;
    Report(StrCat("group ", name, " has been silent for ", Seconds(now - group.heard), " s"));
    GroupRecord record = group.record;
    record.state = GroupState::kLost;
    MIXREC_RETURN_IF_ERROR(SetGroup(&group, record));
  }
  if (options_.mutation == Mutation::kNoExpiry) return absl::OkStatus();
  std::vector<int> expired;
  for (const auto& [number, held] : leases_) {
    if (now >= held.expires) expired.push_back(number);
  }
  for (const int number : expired) {
    MIXREC_RETURN_IF_ERROR(FreeOrFail(number, /*counts=*/true, Failure::kLost,
                                      StrCat("group ", leases_.at(number).lease.group, " was lost"),
                                      {}, ""));
  }
  return absl::OkStatus();
}

// Who was started again gets its own trials back before others look for one.
absl::Status Scheduler::Grant(net::Time now) {
  for (const bool own : {true, false}) {
    for (bool any = true; any;) {
      any = false;
      for (auto& [name, group] : groups_) {
        if (own && !HasOwn(name)) continue;
        MIXREC_ASSIGN_OR_RETURN(const bool granted, GrantOne(&group, now));
        any = any || granted;
      }
    }
  }
  return absl::OkStatus();
}

bool Scheduler::HasOwn(const std::string& group) const {
  return std::any_of(waiting_.begin(), waiting_.end(), [&](const auto& waiting) {
    return waiting.second.last == group && waiting.second.avoid != group;
  });
}

absl::StatusOr<bool> Scheduler::GrantOne(Group* group, net::Time now) {
  if (group->record.state != GroupState::kAlive || !group->ready || group->peer.empty()) {
    return false;
  }
  const int more = options_.mutation == Mutation::kMoreThanSlots ? 1 : 0;
  if (Used(*group) >= group->record.slots + more) return false;
  int number = Waiting(*group);
  if (number < 0) {
    if (!strategy_->HasMore(study())) return false;
    MIXREC_ASSIGN_OR_RETURN(const Proposal proposal, strategy_->Propose(study()));
    MIXREC_ASSIGN_OR_RETURN(number,
                            journal_->CreateTrial(proposal.parameters, proposal.attributes));
    waiting_[number] = {};
  }
  Lease lease = waiting_.at(number);
  lease.group = group->record.name;
  lease.incarnation = group->record.incarnation;
  ++lease.attempt;
  lease.last.clear();
  lease.why.clear();
  lease.avoid.clear();
  MIXREC_RETURN_IF_ERROR(SetLease(number, lease, now + options_.lease));
  Report(StrCat("trial ", number, " goes to group ", lease.group, ", attempt ", lease.attempt));
  return true;
}

int Scheduler::Waiting(const Group& group) const {
  const std::string& name = group.record.name;
  for (const auto& [number, lease] : waiting_) {
    if (lease.last == name && lease.avoid != name) return number;  // its own comes first
  }
  const bool alone = std::none_of(groups_.begin(), groups_.end(), [&](const auto& other) {
    return other.first != name && other.second.record.state == GroupState::kAlive &&
           other.second.ready;
  });
  for (const auto& [number, lease] : waiting_) {
    if (alone || lease.avoid != name) return number;
  }
  return -1;
}

// Its leases, and what it works on without one: that has not ended yet.
int Scheduler::Used(const Group& group) const {
  int used = 0;
  for (const auto& [number, held] : leases_) {
    if (held.lease.group == group.record.name) ++used;
  }
  for (const TrialAttempt& id : group.busy) {
    const auto lease = leases_.find(id.trial);
    const bool counted = lease != leases_.end() && lease->second.lease.attempt == id.attempt &&
                         lease->second.lease.group == group.record.name;
    if (!counted) ++used;
  }
  return used;
}

absl::Status Scheduler::ConcludeIfOver(net::Time now) {
  if (phase_ != StudyPhase::kRunning) return absl::OkStatus();
  if (failed_ > options_.tolerated_failures && failed_ > succeeded_) {
    return Conclude(StudyPhase::kFailed,
                    StrCat("most trials fail (", failed_, " of ", failed_ + succeeded_,
                           " since the scheduler was started); see the reasons in trials.csv, and "
                           "run the same command again to go on"),
                    now);
  }
  if (!leases_.empty() || !waiting_.empty() || strategy_->HasMore(study())) {
    return absl::OkStatus();
  }
  return Conclude(StudyPhase::kFinished, "", now);
}

absl::Status Scheduler::Conclude(StudyPhase phase, const std::string& reason, net::Time now) {
  MIXREC_RETURN_IF_ERROR(journal_->SetStudyAttribute(
      kStatusAttribute, StatusToJson({phase, reason, journal_->Now()})));
  phase_ = phase;
  reason_ = reason;
  linger_until_ = now + kLingerHeartbeats * options_.heartbeat;
  Report(StrCat("the study has ", phase == StudyPhase::kFinished ? "finished" : "ended: ", reason));
  return absl::OkStatus();
}

Assignment Scheduler::AssignmentOf(const Group& group) const {
  Assignment assignment;
  assignment.incarnation = options_.incarnation;
  assignment.group_incarnation = group.record.incarnation;
  assignment.heard = group.sequence;
  assignment.lease_seconds = Seconds(options_.lease);
  assignment.heartbeat_seconds = Seconds(options_.heartbeat);
  assignment.phase = phase_;
  assignment.reason = reason_;
  if (phase_ != StudyPhase::kRunning) return assignment;
  for (const auto& [number, held] : leases_) {
    if (held.lease.group != group.record.name) continue;
    const TrialRecord& trial = *Find(number);
    const auto& scores = trial.intermediate_values;
    assignment.trials.push_back({{number, held.lease.attempt},
                                 strategy_->Work(trial),
                                 scores.empty() ? 0 : scores.rbegin()->first});
  }
  return assignment;
}

void Scheduler::Send(Group* group, const std::vector<TrialAttempt>& settled, net::Outbox* out) {
  Assignment assignment = AssignmentOf(*group);
  group->told = StudyPhaseName(phase_);
  for (const LeasedTrial& trial : assignment.trials) {
    group->told += StrCat(" ", trial.id.trial, "/", trial.id.attempt);
  }
  assignment.number = ++messages_;
  assignment.settled = settled;
  out->Send(group->peer, Encode(assignment));
}

// To groups whose trials have changed since they last heard.
void Scheduler::SpeakUnasked(net::Outbox* out) {
  for (auto& [name, group] : groups_) {
    // A lost one may still be at work: it is asked when it speaks.
    if (group.peer.empty() || group.record.state != GroupState::kAlive) continue;
    std::string now = StudyPhaseName(phase_);
    if (phase_ == StudyPhase::kRunning) {
      for (const auto& [number, held] : leases_) {
        if (held.lease.group == name) now += StrCat(" ", number, "/", held.lease.attempt);
      }
    }
    if (now != group.told) Send(&group, {}, out);
  }
}

void Scheduler::Wake(net::Outbox* out) const {
  if (ended_) return;
  for (const auto& [number, held] : leases_) out->WakeAt(held.expires);
  for (const auto& [name, group] : groups_) {
    if (group.record.state == GroupState::kAlive) out->WakeAt(group.heard + options_.lease);
  }
  if (draining_) out->WakeAt(drain_until_);
  if (phase_ != StudyPhase::kRunning) out->WakeAt(linger_until_);
}

StudyView Scheduler::View(net::Time now) const {
  StudyView view = ViewOf(study());
  for (GroupView& group : view.groups) {
    const auto live = groups_.find(group.record.name);
    if (live != groups_.end() && !live->second.peer.empty()) {
      group.silent_seconds = Seconds(now - live->second.heard);
    }
  }
  return view;
}

std::map<std::string, int> Scheduler::LeaseCounts() const {
  std::map<std::string, int> counts;
  for (const auto& [number, held] : leases_) ++counts[held.lease.group];
  return counts;
}

}  // namespace mixrec::scheduler
