#include "scheduler/group.h"

#include <algorithm>
#include <utility>

#include "common/log.h"
#include "scheduler/codec.h"

namespace mixrec::scheduler {
namespace {

net::Time Micros(double seconds) { return static_cast<net::Time>(seconds * net::kSecond); }

bool IsWorking(const Outcome& outcome) { return outcome.kind == Outcome::Kind::kNone; }

}  // namespace

Group::Group(GroupOptions options, GroupWork* work) : options_(std::move(options)), work_(work) {}

void Group::Start(net::Outbox* out) {
  answered_ = out->now();
  Speak(out);
  Wake(out);
}

void Group::Receive(const net::Peer&, const net::Message& message, net::Outbox* out) {
  const absl::StatusOr<Body> body = Decode(message);
  const auto* assignment = body.ok() ? std::get_if<Assignment>(&*body) : nullptr;
  if (!body.ok()) Report(StrCat("the scheduler: ", std::string(body.status().message())));
  if (assignment != nullptr && !stopped_ &&
      assignment->group_incarnation == options_.group.incarnation) {
    Take(*assignment, out);
  }
  StopIfDone(out);
  Wake(out);
}

void Group::Tick(net::Outbox* out) {
  const net::Time now = out->now();
  if (!leaving_ && now - answered_ >= options_.deadline) {
    Leave(StrCat("no word of the scheduler at ", options_.scheduler, " for ",
                 (now - answered_) / net::kSecond, " s"),
          out);
  }
  const bool unanswered = heard_ < sequence_;
  if (now - spoke_ >= (unanswered ? std::min(options_.resend, heartbeat_) : heartbeat_)) {
    Speak(out);
  }
  StopIfDone(out);
  Wake(out);
}

void Group::SetReady(const std::string& settings, const std::string& device, net::Outbox* out) {
  settings_ = settings;
  options_.group.device = device;
  ready_ = true;
  Speak(out);
  Wake(out);
}

void Group::Scored(const TrialAttempt& id, const Score& score, net::Outbox* out) {
  const auto found = held_.find(id);
  if (found == held_.end()) return;
  found->second.scores.push_back(score);
  Speak(out);
  Wake(out);
}

void Group::Ended(const TrialAttempt& id, Outcome outcome, net::Outbox* out) {
  const auto found = held_.find(id);
  if (found == held_.end()) return;
  CHECK(!IsWorking(outcome)) << "an attempt that has ended has an outcome";
  // A score is always worth a word: it may be the first.
  if (found->second.dropped && outcome.kind != Outcome::Kind::kDone) {
    held_.erase(found);
  } else {
    found->second.outcome = std::move(outcome);
  }
  Speak(out);
  StopIfDone(out);
  Wake(out);
}

void Group::Leave(const std::string& why, net::Outbox* out) {
  if (leaving_ || stopped_) return;
  leaving_ = true;
  left_at_ = out->now();
  result_ = StoppedError(why);
  Report(StrCat("leaving: ", why));
  EndAll(EndReason::kRelease);
  StopIfDone(out);
  Wake(out);
}

void Group::Speak(net::Outbox* out) {
  GroupReport report;
  report.group = options_.group;
  report.sequence = ++sequence_;
  report.settings = settings_;
  report.ready = ready_ && !leaving_;
  for (const auto& [id, held] : held_) report.trials.push_back({id, held.scores, held.outcome});
  sent_[sequence_] = spoke_ = out->now();
  out->Send(options_.scheduler, Encode(report));
}

void Group::Take(const Assignment& assignment, net::Outbox* out) {
  // Of an older scheduler, or overtaken by a later word.
  if (assignment.incarnation < scheduler_incarnation_ ||
      (assignment.incarnation == scheduler_incarnation_ &&
       assignment.number <= scheduler_number_)) {
    return;
  }
  scheduler_incarnation_ = assignment.incarnation;
  scheduler_number_ = assignment.number;
  heard_ = std::max(heard_, assignment.heard);
  answered_ = out->now();
  heartbeat_ = Micros(assignment.heartbeat_seconds);
  lease_ = Micros(assignment.lease_seconds);
  if (!assignment.refused.empty()) {
    result_ = UsageError("the scheduler at ", options_.scheduler,
                         " refuses this group: ", assignment.refused);
    EndAll(EndReason::kDrop);
    stopped_ = true;
    return out->Stop();
  }
  phase_ = assignment.phase;
  if (phase_ == StudyPhase::kFailed && result_.ok()) {
    result_ = FailureError("the study has failed: ", assignment.reason);
  }
  if (!told_study_ && !assignment.study.empty()) {
    told_study_ = true;
    if (options_.on_study) options_.on_study(assignment.study);
  }
  if (settings_.empty()) return;  // it has only asked
  const auto sent = sent_.find(assignment.heard);
  const net::Time valid_until = sent == sent_.end() ? 0 : sent->second + lease_;
  sent_.erase(sent_.begin(), sent_.lower_bound(assignment.heard));
  Forget(assignment);
  Begin(assignment, valid_until);
}

// Outcomes and scores that are in the journal; what is nobody's wish any more.
void Group::Forget(const Assignment& assignment) {
  for (const TrialAttempt& id : assignment.settled) {
    const auto found = held_.find(id);
    if (found != held_.end() && !IsWorking(found->second.outcome)) held_.erase(found);
  }
  for (auto& [id, held] : held_) {
    const auto leased = std::find_if(assignment.trials.begin(), assignment.trials.end(),
                                     [&id = id](const auto& trial) { return trial.id == id; });
    if (leased == assignment.trials.end()) {
      held.valid_until = 0;
      if (IsWorking(held.outcome)) End(id, &held, EndReason::kDrop);
      continue;
    }
    auto& scores = held.scores;
    scores.erase(
        std::remove_if(scores.begin(), scores.end(),
                       [&](const Score& score) { return score.epoch <= leased->known_epoch; }),
        scores.end());
  }
}

void Group::Begin(const Assignment& assignment, net::Time valid_until) {
  if (phase_ != StudyPhase::kRunning || leaving_) return;
  for (const LeasedTrial& trial : assignment.trials) {
    const auto known = held_.find(trial.id);
    if (known != held_.end()) {
      known->second.valid_until = std::max(known->second.valid_until, valid_until);
      continue;
    }
    // Otherwise with a later word: the scheduler says it every time.
    if (!MayBegin(trial.id.trial)) continue;
    Report(StrCat("trial ", trial.id.trial, " begins (attempt ", trial.id.attempt, ")"));
    Held held;
    held.valid_until = valid_until;
    held_.emplace(trial.id, std::move(held));
    work_->Begin(trial.id, trial.work);
  }
}

// A free slot, and no earlier attempt that has not ended: two must not share a folder.
bool Group::MayBegin(int trial) const {
  int working = 0;
  for (const auto& [id, held] : held_) {
    if (!IsWorking(held.outcome)) continue;
    if (id.trial == trial) return false;
    ++working;
  }
  return working < options_.group.slots;
}

void Group::End(const TrialAttempt& id, Held* held, EndReason reason) {
  if (reason == EndReason::kDrop) held->dropped = true;
  if (held->ending) return;
  held->ending = true;
  Report(StrCat("trial ", id.trial, reason == EndReason::kDrop ? " is dropped" : " is given back",
                " (attempt ", id.attempt, ")"));
  work_->End(id, reason);
}

void Group::EndAll(EndReason reason) {
  for (auto& [id, held] : held_) {
    if (IsWorking(held.outcome)) End(id, &held, reason);
  }
}

void Group::StopIfDone(net::Outbox* out) {
  if (stopped_) return;
  const bool over = phase_ == StudyPhase::kFinished || phase_ == StudyPhase::kFailed;
  if (!over && !leaving_) return;
  if (over) EndAll(EndReason::kDrop);
  const bool works = std::any_of(held_.begin(), held_.end(),
                                 [](const auto& held) { return IsWorking(held.second.outcome); });
  if (works) return;
  // What was not settled in time is on the disk: the next attempt finds it there.
  if (!held_.empty() && !(leaving_ && out->now() - left_at_ >= options_.farewell)) return;
  options_.group.state = GroupState::kLeft;
  if (!settings_.empty()) Speak(out);
  stopped_ = true;
  out->Stop();
}

void Group::Wake(net::Outbox* out) const {
  if (stopped_) return;
  const bool unanswered = heard_ < sequence_;
  out->WakeAt(spoke_ + (unanswered ? std::min(options_.resend, heartbeat_) : heartbeat_));
  if (leaving_) {
    out->WakeAt(std::max(out->now() + 1, left_at_ + options_.farewell));
  } else {
    out->WakeAt(answered_ + options_.deadline);
  }
}

std::vector<TrialAttempt> Group::Working() const {
  std::vector<TrialAttempt> working;
  for (const auto& [id, held] : held_) {
    if (IsWorking(held.outcome)) working.push_back(id);
  }
  return working;
}

bool Group::HoldsLease(const TrialAttempt& id, net::Time now) const {
  const auto found = held_.find(id);
  return found != held_.end() && IsWorking(found->second.outcome) &&
         now < found->second.valid_until;
}

void Group::Report(const std::string& text) const {
  if (options_.report) options_.report(text);
}

}  // namespace mixrec::scheduler
