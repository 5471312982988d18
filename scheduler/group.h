// A worker group's end: asks for trials, reports scores and results until the scheduler has them. A
// net::Actor; the training itself happens elsewhere (GroupWork).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "common/status.h"
#include "net/actor.h"
#include "scheduler/protocol.h"

namespace mixrec::scheduler {

// Why an attempt should end.
enum class EndReason {
  kHopeless,  // early stopping: its score so far is its result
  kRelease,   // the group leaves: save, somebody else goes on
  kDrop,      // somebody else has it, or has finished it: nothing is wanted any more
};

// Whoever trains. Both calls come from the actor's thread and return at once; what follows comes
// back by Group::Scored and Group::Ended.
class GroupWork {
 public:
  virtual ~GroupWork() = default;
  virtual void Begin(const TrialAttempt& id, const std::string& work) = 0;
  virtual void End(const TrialAttempt& id, EndReason reason) = 0;
};

struct GroupOptions {
  GroupRecord group;                        // name, incarnation, slots, host, ...
  std::string scheduler;                    // endpoint
  net::Time resend = net::kSecond;          // of a report that was not answered
  net::Time deadline = 600 * net::kSecond;  // of a silent scheduler; then the group leaves
  // The study that the scheduler works on, told once; the group is ready after SetReady.
  std::function<void(const std::string& study)> on_study;
  std::function<void(const std::string&)> report;  // told of what happens, in words
};

class Group : public net::Actor {
 public:
  // `work` outlives it.
  Group(GroupOptions options, GroupWork* work);

  void Start(net::Outbox* out) override;
  void Receive(const net::Peer& from, const net::Message& message, net::Outbox* out) override;
  void Tick(net::Outbox* out) override;

  // Posted to the actor's loop by whoever trains.
  void SetReady(const std::string& settings, net::Outbox* out);
  void Scored(const TrialAttempt& id, const Score& score, net::Outbox* out);
  void Ended(const TrialAttempt& id, Outcome outcome, net::Outbox* out);
  // The group saves its trials, gives them back and leaves; result() is StoppedError.
  void Leave(net::Outbox* out);

  // Once the actor has stopped: OK when the study is over, StoppedError after Leave or without a
  // scheduler, UsageError when refused, FailureError when the study has failed.
  const absl::Status& result() const { return result_; }

  // Attempts that are being worked on.
  std::vector<TrialAttempt> Working() const;
  // Whether it may believe that nobody else has been given the trial.
  bool HoldsLease(const TrialAttempt& id, net::Time now) const;

 private:
  struct Held {
    std::vector<Score> scores;  // not known to be in the journal
    Outcome outcome;
    bool leased = true;   // by the last assignment
    bool ending = false;  // was told to end
    net::Time valid_until = 0;
  };

  void Speak(net::Outbox* out);
  void Take(const Assignment& assignment, net::Outbox* out);
  void Forget(const Assignment& assignment);
  void TakeTrials(const Assignment& assignment);
  void Begin(const LeasedTrial& trial);
  void End(const TrialAttempt& id, Held* held, EndReason reason);
  bool Idle() const { return held_.empty(); }
  void StopIfDone(net::Outbox* out);
  void Wake(net::Outbox* out) const;
  void Report(const std::string& text) const;

  GroupOptions options_;
  GroupWork* work_;
  std::map<TrialAttempt, Held> held_;
  bool told_study_ = false, ready_ = false, leaving_ = false;
  std::string settings_;
  uint64_t sequence_ = 0;
  std::map<uint64_t, net::Time> sent_;  // reports not known to be heard: when
  uint64_t scheduler_incarnation_ = 0, scheduler_number_ = 0, heard_ = 0;
  net::Time heartbeat_ = 5 * net::kSecond, lease_ = 30 * net::kSecond;
  net::Time spoke_ = 0, answered_ = 0;
  StudyPhase phase_ = StudyPhase::kRunning;
  std::string reason_;
  absl::Status result_;
};

}  // namespace mixrec::scheduler
