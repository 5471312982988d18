#include "scheduler/scheduler.h"

#include <algorithm>
#include <utility>

#include "common/log.h"
#include "scheduler/codec.h"

namespace mixrec::scheduler {
namespace {

double Seconds(net::Time time) { return static_cast<double>(time) / net::kSecond; }

}  // namespace

Scheduler::Scheduler(SchedulerOptions options, Journal* journal, Strategy* strategy)
    : options_(std::move(options)), journal_(journal), strategy_(strategy) {}

void Scheduler::Start(net::Outbox* out) {
  for (const auto& [name, record] : GroupsOf(study())) {
    groups_[name].record = record;
    groups_[name].heard = out->now();
  }
  for (const TrialRecord& trial : study().trials) {
    if (trial.finished()) continue;
    const Lease lease = LeaseOf(trial);
    if (lease.held() && options_.mutation != Mutation::kForgottenLeases) {
      leases_[trial.number] = {lease, out->now() + options_.lease};
    } else {
      waiting_[trial.number] = lease;
    }
  }
  const absl::Status status = journal_->SetStudyAttribute(
      kStatusAttribute, StatusToJson({StudyPhase::kRunning, "", journal_->Now()}));
  if (!status.ok()) return End(status, out);
  Tick(out);
}

void Scheduler::Receive(const net::Peer& from, const net::Message& message, net::Outbox* out) {
  const absl::StatusOr<Body> body = Decode(message);
  const auto* report = body.ok() ? std::get_if<GroupReport>(&*body) : nullptr;
  if (!body.ok()) Report(StrCat(from, ": ", std::string(body.status().message())));
  if (report != nullptr && !ended_) OnReport(from, *report, out);
  Wake(out);
}

void Scheduler::Tick(net::Outbox* out) {
  if (!ended_ && Advance(out)) SpeakUnasked(out);
  Wake(out);
}

void Scheduler::Drain(net::Time until, net::Outbox* out) {
  if (draining_ || ended_) return;
  draining_ = true;
  drain_until_ = until;
  Report(StrCat("stopping; ", leases_.size(), " trial(s) are out"));
  Tick(out);
}

void Scheduler::OnReport(const net::Peer& from, const GroupReport& report, net::Outbox* out) {
  if (!Admit(from, report, out)) return;
  const absl::Status status = Take(from, report, out->now());
  if (!status.ok()) return End(status, out);
  if (!Advance(out)) return;
  // All outcomes were taken or are of no use: what is in the journal may be forgotten.
  std::vector<TrialAttempt> settled;
  for (const HeldTrial& held : report.trials) {
    if (held.outcome.kind != Outcome::Kind::kNone) settled.push_back(held.id);
  }
  Send(&groups_.at(report.group.name), settled, out);
  SpeakUnasked(out);
}

bool Scheduler::Admit(const net::Peer& from, const GroupReport& report, net::Outbox* out) {
  const GroupRecord& record = report.group;
  const auto known = groups_.find(record.name);
  if (known != groups_.end()) {
    const Group& group = known->second;
    if (record.incarnation < group.record.incarnation) return false;  // of a process that is gone
    if (record.incarnation == group.record.incarnation && report.sequence <= group.sequence) {
      return false;  // said again, or overtaken
    }
  }
  const bool asks = report.settings.empty();
  if (!asks && report.settings == options_.settings) return true;
  Assignment answer;
  answer.incarnation = options_.incarnation;
  answer.number = ++messages_;
  answer.group_incarnation = record.incarnation;
  answer.heard = report.sequence;
  answer.lease_seconds = Seconds(options_.lease);
  answer.heartbeat_seconds = Seconds(options_.heartbeat);
  answer.study = options_.study;
  answer.phase = phase_;
  answer.reason = reason_;
  if (!asks) {
    answer.refused =
        StrCat("the study's settings are ", options_.settings, ", the group's ", report.settings);
    Report(StrCat("group ", record.name, " is refused: ", answer.refused));
  }
  out->Send(from, Encode(answer));
  return false;
}

absl::Status Scheduler::Take(const net::Peer& from, const GroupReport& report, net::Time now) {
  Group& group = groups_[report.group.name];
  MIXREC_RETURN_IF_ERROR(Join(report, &group));
  group.peer = from;
  group.sequence = report.sequence;
  group.heard = now;
  group.ready = report.ready;
  group.busy.clear();
  for (const HeldTrial& held : report.trials) {
    if (held.outcome.kind == Outcome::Kind::kNone) group.busy.insert(held.id);
    MIXREC_RETURN_IF_ERROR(TakeScores(report, held));
    MIXREC_RETURN_IF_ERROR(Renew(report, held, now));
    MIXREC_RETURN_IF_ERROR(TakeOutcome(report, held));
  }
  // Leases that the group has not heard of yet live on as well.
  for (auto& [number, held] : leases_) {
    if (held.lease.group == group.record.name) held.expires = now + options_.lease;
  }
  if (report.group.state != GroupState::kLeft) return absl::OkStatus();
  return FreeLeasesOf(group.record.name, /*counts=*/false, "left");
}

absl::Status Scheduler::Join(const GroupReport& report, Group* group) {
  const GroupRecord& now = report.group;
  const GroupRecord before = group->record;
  if (before.incarnation != now.incarnation) {
    group->sequence = 0;
    // Started again: nobody works on what it had. Its trials are the first that it gets.
    MIXREC_RETURN_IF_ERROR(FreeLeasesOf(now.name, /*counts=*/true, "was started again"));
  }
  if (before.incarnation == now.incarnation && before.state == now.state &&
      before.slots == now.slots && before.ranks == now.ranks && before.device == now.device) {
    return absl::OkStatus();
  }
  Report(StrCat("group ", now.name, " (", now.slots, " slot(s), ", now.ranks, " rank(s), ",
                now.device, " on ", now.host, ") ",
                now.state == GroupState::kLeft          ? "leaves"
                : before.incarnation == now.incarnation ? "is back"
                : before.incarnation == 0               ? "joins"
                                                        : "joins again"));
  return SetGroup(group, now);
}

absl::Status Scheduler::TakeScores(const GroupReport& report, const HeldTrial& held) {
  for (const Score& score : held.scores) {
    const TrialRecord* trial = Find(held.id.trial);
    if (trial == nullptr || trial->finished()) return absl::OkStatus();
    if (trial->intermediate_values.count(score.epoch) > 0) continue;
    MIXREC_RETURN_IF_ERROR(journal_->SetIntermediateValue(held.id.trial, score.epoch, score.value));
    if (held.outcome.kind == Outcome::Kind::kDone) continue;
    const auto stop = strategy_->StopsEarly(study(), *trial);
    if (!stop) continue;
    Report(StrCat("trial ", held.id.trial, " is stopped after epoch ", score.epoch, " (",
                  stop->rule, ")"));
    MIXREC_RETURN_IF_ERROR(journal_->SetTrialAttribute(
        held.id.trial, kEarlyStopAttribute, {{"epoch", score.epoch}, {"rule", stop->rule}}));
    MIXREC_RETURN_IF_ERROR(Finish(held.id.trial, TrialState::kPruned, stop->value, 0,
                                  report.group.name, held.id.attempt));
  }
  return absl::OkStatus();
}

// The lease of an attempt that was given up for lost, when nobody has been given the next one.
absl::Status Scheduler::Renew(const GroupReport& report, const HeldTrial& held, net::Time now) {
  const auto waiting = waiting_.find(held.id.trial);
  if (waiting == waiting_.end() || held.outcome.kind != Outcome::Kind::kNone) {
    return absl::OkStatus();
  }
  const Lease before = waiting->second;
  if (before.attempt != held.id.attempt || before.last != report.group.name ||
      before.incarnation != report.group.incarnation) {
    return absl::OkStatus();
  }
  // A report from before a restart of the scheduler may come late, when the group has others.
  if (LeaseCounts()[report.group.name] >= report.group.slots) return absl::OkStatus();
  Lease lease = before;
  lease.group = before.last;
  lease.last.clear();
  lease.why.clear();
  Report(StrCat("trial ", held.id.trial, ": group ", lease.group, " still has it (attempt ",
                lease.attempt, ")"));
  return SetLease(held.id.trial, lease, now + options_.lease);
}

absl::Status Scheduler::TakeOutcome(const GroupReport& report, const HeldTrial& held) {
  const TrialRecord* trial = Find(held.id.trial);
  const Outcome& outcome = held.outcome;
  if (trial == nullptr || outcome.kind == Outcome::Kind::kNone) return absl::OkStatus();
  if (trial->finished()) {
    const int known = trial->attributes.count(kResultOfAttribute) > 0
                          ? trial->attributes.at(kResultOfAttribute).value("attempt", 0)
                          : 0;
    const bool again = held.id.attempt == known;
    const bool mistaken =
        outcome.kind == Outcome::Kind::kDone &&
        options_.mutation == (again ? Mutation::kFinishTwice : Mutation::kLateOverwrites);
    if (!mistaken) return absl::OkStatus();  // the first result stays
  }
  const std::string who = StrCat("group ", report.group.name);
  if (outcome.kind == Outcome::Kind::kDone) {
    return Finish(held.id.trial, TrialState::kComplete, outcome.value, outcome.seconds,
                  report.group.name, held.id.attempt);
  }
  if (!IsHolder(report, held.id)) return absl::OkStatus();  // somebody else is at work
  if (outcome.kind == Outcome::Kind::kReleased) {
    return FreeOrFail(held.id.trial, false, Failure::kLost, StrCat(who, " gave it back"), {}, "");
  }
  if (IsDeterministic(outcome.failure)) {
    return Fail(held.id.trial, outcome.failure, outcome.reason, outcome.log);
  }
  return FreeOrFail(held.id.trial, true, outcome.failure, StrCat(who, ": ", outcome.reason),
                    outcome, report.group.name);
}

bool Scheduler::IsHolder(const GroupReport& report, const TrialAttempt& id) const {
  const auto found = leases_.find(id.trial);
  if (found == leases_.end()) return false;
  const Lease& lease = found->second.lease;
  return lease.group == report.group.name && lease.incarnation == report.group.incarnation &&
         lease.attempt == id.attempt;
}

const TrialRecord* Scheduler::Find(int number) const {
  const auto& trials = study().trials;
  if (number < 0 || number >= static_cast<int>(trials.size())) return nullptr;
  return &trials[static_cast<size_t>(number)];
}

void Scheduler::Report(const std::string& text) const {
  if (options_.report) options_.report(text);
}

}  // namespace mixrec::scheduler
