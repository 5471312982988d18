#include "tests/simulation/search_group.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "common/random.h"

namespace mixrec::scheduler {
namespace {

using net::kMillisecond;
using net::kSecond;

double Chance(uint64_t seed, const char* what, int trial, int number) {
  return RandomStream(
             HashKey(seed, what, static_cast<uint64_t>(trial), static_cast<uint64_t>(number)))
      .Uniform();
}

GroupOptions Completed(GroupOptions options, net::Time* ready_at, const net::Time* now) {
  options.on_study = [=](const std::string&) { *ready_at = *now + 300 * kMillisecond; };
  return options;
}

}  // namespace

SimulatedGroup::SimulatedGroup(const GroupOptions& options, Shared* shared, std::string* left)
    : shared_(shared), left_(left), group_(Completed(options, &ready_at_, &now_), this) {}

SimulatedGroup::~SimulatedGroup() { *left_ = group_.result().ToString(); }

void SimulatedGroup::Start(net::Outbox* out) {
  now_ = out->now();
  group_.Start(out);
  Wake(out);
}

void SimulatedGroup::Receive(const net::Peer& from, const net::Message& message, net::Outbox* out) {
  now_ = out->now();
  group_.Receive(from, message, out);
  Wake(out);
}

void SimulatedGroup::Tick(net::Outbox* out) {
  now_ = out->now();
  if (now_ >= ready_at_) {
    ready_at_ = net::kNever;
    group_.SetReady("the study's", "simulated", out);
  }
  Work(out);
  group_.Tick(out);
  Wake(out);
}

void SimulatedGroup::Begin(const TrialAttempt& id, const std::string& work) {
  if (work != StrCat("work ", id.trial)) shared_->Violate("a group was told other work");
  for (const auto& [other, job] : jobs_) {
    if (other.trial == id.trial) shared_->Violate("two attempts of a trial in one group");
  }
  if (static_cast<int>(jobs_.size()) >= shared_->options.slots) {
    shared_->Violate("a group works on more trials than it has slots");
  }
  Job& job = jobs_[id];
  job.epochs = shared_->checkpoints[id.trial];
  job.next = now_ + EpochTime(id);
}

void SimulatedGroup::End(const TrialAttempt& id, EndReason) {
  const auto job = jobs_.find(id);
  if (job == jobs_.end()) return;
  job->second.ending = true;
  job->second.next = std::min(job->second.next, now_ + 100 * kMillisecond);  // a train step
}

void SimulatedGroup::Work(net::Outbox* out) {
  for (auto job = jobs_.begin(); job != jobs_.end();) {
    const TrialAttempt id = job->first;
    if (job->second.next > now_ || !Step(id, &job->second, out)) {
      ++job;
      continue;
    }
    job = jobs_.find(id);  // what the group was told may have begun others
    job = jobs_.erase(job);
  }
}

bool SimulatedGroup::Step(const TrialAttempt& id, Job* job, net::Outbox* out) {
  Outcome outcome;
  outcome.seconds = 1;
  const auto ends = [&] {
    group_.Ended(id, outcome, out);
    return true;
  };
  if (job->ending) {
    outcome.kind = Outcome::Kind::kReleased;
    return ends();
  }
  const int epoch = job->epochs + 1;
  const Fate fate = FateOf(id, epoch);
  if (fate != Fate::kGoesOn) {
    outcome.kind = Outcome::Kind::kFailed;
    outcome.failure = fate == Fate::kFails ? Failure::kTransient : Failure::kNotFinite;
    outcome.reason = "a simulated failure";
    return ends();
  }
  if (epoch <= shared_->options.epochs) {
    job->epochs = epoch;
    int& saved = shared_->checkpoints[id.trial];
    saved = std::max(saved, epoch);
    // Attempts do not agree, so that a result that replaced another would be seen.
    group_.Scored(id, {epoch, id.trial + 0.01 * id.attempt}, out);
  }
  if (job->epochs < shared_->options.epochs) {
    job->next = now_ + EpochTime(id);
    return false;
  }
  outcome.kind = Outcome::Kind::kDone;
  outcome.value = id.trial + 0.001 * id.attempt;
  return ends();
}

SimulatedGroup::Fate SimulatedGroup::FateOf(const TrialAttempt& id, int epoch) const {
  const SearchWorldOptions& options = shared_->options;
  if (Chance(options.seed, "bad", id.trial, epoch) < options.bad) return Fate::kFailsForGood;
  const int moment = id.attempt * 100 + epoch;
  if (Chance(options.seed, "unlucky", id.trial, moment) < options.unlucky) return Fate::kFails;
  return Fate::kGoesOn;
}

net::Time SimulatedGroup::EpochTime(const TrialAttempt& id) const {
  const double factor = 0.2 + 1.6 * Chance(shared_->options.seed, "time", id.trial, id.attempt);
  return 1 + static_cast<net::Time>(shared_->options.epoch_seconds * factor * kSecond);
}

void SimulatedGroup::Wake(net::Outbox* out) const {
  for (const auto& [id, job] : jobs_) out->WakeAt(job.next);
  out->WakeAt(ready_at_);
}

}  // namespace mixrec::scheduler
