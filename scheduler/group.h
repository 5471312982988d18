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
  kRelease,  // the group leaves: save, somebody else goes on
  kDrop,     // it is hopeless, somebody else has it, or the study is over: nothing is wanted
};

// Whoever trains. Both calls come from the actor's thread and return at once; what follows comes
// back by Group::Scored and Group::Ended, which every attempt that began must reach.
class GroupWork {
 public:
  virtual ~GroupWork() = default;
  virtual void Begin(const TrialAttempt& id, const std::string& work) = 0;
  // The attempt may have ended by itself in the meantime.
  virtual void End(const TrialAttempt& id, EndReason reason) = 0;
};

struct GroupOptions {
  GroupRecord group;                        // name, incarnation, slots, host, ...
  std::string scheduler;                    // endpoint
  net::Time resend = net::kSecond;          // of a report that was not answered
  net::Time deadline = 600 * net::kSecond;  // of a silent scheduler; then the group leaves
  net::Time farewell = 10 * net::kSecond;   // who leaves waits so long for the last answer
  // The study that the scheduler works on, once. The group takes trials after SetReady.
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

  // Posted to the actor's loop by whoever trains. What the group was set up for: settings, and
  // possibly what it computes on.
  void SetReady(const std::string& settings, const std::string& device, net::Outbox* out);
  void Scored(const TrialAttempt& id, const Score& score, net::Outbox* out);
  void Ended(const TrialAttempt& id, Outcome outcome, net::Outbox* out);
  // The group saves its trials, gives them back and leaves; result() is StoppedError.
  void Leave(const std::string& why, net::Outbox* out);

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
    bool ending = false;   // was told to end
    bool dropped = false;  // nobody wants it
    net::Time valid_until = 0;
  };

  void Speak(net::Outbox* out);
  void Take(const Assignment& assignment, net::Outbox* out);
  void Forget(const Assignment& assignment);
  void Begin(const Assignment& assignment, net::Time valid_until);
  void End(const TrialAttempt& id, Held* held, EndReason reason);
  void EndAll(EndReason reason);
  bool MayBegin(int trial) const;
  // Stops the actor when nothing is left to do.
  void StopIfDone(net::Outbox* out);
  void Wake(net::Outbox* out) const;
  void Report(const std::string& text) const;

  GroupOptions options_;
  GroupWork* work_;
  std::map<TrialAttempt, Held> held_;
  bool told_study_ = false, ready_ = false, leaving_ = false, stopped_ = false;
  std::string settings_;
  uint64_t sequence_ = 0, heard_ = 0;   // last report; last that was answered
  std::map<uint64_t, net::Time> sent_;  // when a report was sent, from heard_ on
  uint64_t scheduler_incarnation_ = 0, scheduler_number_ = 0;
  net::Time heartbeat_ = 5 * net::kSecond, lease_ = 30 * net::kSecond;
  net::Time spoke_ = 0, answered_ = 0, left_at_ = 0;
  StudyPhase phase_ = StudyPhase::kRunning;
  absl::Status result_;
};

}  // namespace mixrec::scheduler
