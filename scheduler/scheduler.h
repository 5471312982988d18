// Who works on which trial: the one place that decides it, and the one writer of the journal. A
// net::Actor.
//
// A group speaks every few seconds and whenever something has happened, and always says everything:
// what it works on, the scores and results that it has not been told to forget. The answer says
// what it should be working on. So messages may be lost, doubled or late, and either side may start
// again. Nobody hears of a decision or of a result's receipt before it is in the journal.
//
// Promises, under any loss of groups, schedulers and messages (tests/scheduler_simulation_test.cc):
// every trial ends with exactly one result, the first that came; a trial has one live lease at
// most; no group has more leases than slots; a result that a group was told to forget is not lost;
// once the faults stop all trials end.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "common/status.h"
#include "net/actor.h"
#include "scheduler/journal.h"
#include "scheduler/lease.h"
#include "scheduler/mutation.h"
#include "scheduler/protocol.h"
#include "scheduler/strategy.h"
#include "scheduler/study_view.h"

namespace mixrec::scheduler {

struct SchedulerOptions {
  uint64_t incarnation = 1;                // larger than that of any scheduler of the study before
  net::Time lease = 30 * net::kSecond;     // without a word of the holder
  net::Time heartbeat = 5 * net::kSecond;  // asked of the groups
  int retries = 2;  // after failures and losses without a finished epoch in between
  // The study fails when more trials than these, and more than half, have failed in this process.
  int tolerated_failures = 5;
  std::string study;     // told to groups that join: what they work on; opaque
  std::string settings;  // groups whose settings differ are refused; opaque
  std::function<void(const std::string&)> report;  // told of every decision, in words
  Mutation mutation = Mutation::kNone;
};

class Scheduler : public net::Actor {
 public:
  // Both outlive it; the journal has its study. Leases that the journal names live on, for a full
  // lease from now.
  Scheduler(SchedulerOptions options, Journal* journal, Strategy* strategy);

  void Start(net::Outbox* out) override;
  void Receive(const net::Peer& from, const net::Message& message, net::Outbox* out) override;
  void Tick(net::Outbox* out) override;

  // No trial is given out from now on; the actor stops when no lease is left, or at `until`.
  // Groups work on, for a scheduler that may come.
  void Drain(net::Time until, net::Outbox* out);

  // How it ended, once the actor has stopped: OK when all trials have ended, StoppedError after
  // Drain, FailureError when most trials fail or the journal cannot be written.
  const absl::Status& result() const { return result_; }
  StudyPhase phase() const { return phase_; }
  const StudyRecord& study() const { return journal_->study(); }
  // With what only the running scheduler knows: how long groups have been silent.
  StudyView View(net::Time now) const;

  // Leases by group, for checks.
  std::map<std::string, int> LeaseCounts() const;

 private:
  struct Group {
    GroupRecord record;
    bool ready = false;
    net::Peer peer;  // empty: not heard by this process
    uint64_t sequence = 0;
    net::Time heard = 0;
    std::set<TrialAttempt> busy;  // that it says it is working on
    std::string told;             // the trials of the last assignment, to speak when they change
  };
  struct Held {
    Lease lease;
    net::Time expires = 0;
  };

  void OnReport(const net::Peer& from, const GroupReport& report, net::Outbox* out);
  // False: the report is ignored, or answered already.
  bool Admit(const net::Peer& from, const GroupReport& report, net::Outbox* out);
  absl::Status Take(const net::Peer& from, const GroupReport& report, net::Time now);
  absl::Status Join(const GroupReport& report, Group* group);
  absl::Status TakeScores(const GroupReport& report, const HeldTrial& held);
  absl::Status Renew(const GroupReport& report, const HeldTrial& held, net::Time now);
  absl::Status TakeOutcome(const GroupReport& report, const HeldTrial& held);
  absl::Status FreeLeasesOf(const std::string& group, bool counts, const std::string& why);
  absl::Status FreeOrFail(int number, bool counts, Failure failure, const std::string& why,
                          const Outcome& outcome, const std::string& avoid);
  absl::Status Finish(int number, TrialState state, double value, double seconds,
                      const std::string& group, int attempt);
  absl::Status Fail(int number, Failure failure, const std::string& reason, const std::string& log);
  absl::Status SetLease(int number, Lease lease, net::Time expires);
  absl::Status SetGroup(Group* group, const GroupRecord& record);

  absl::Status Expire(net::Time now);
  absl::Status Grant(net::Time now);
  absl::StatusOr<bool> GrantOne(Group* group, net::Time now);
  // Whether a waiting trial was the group's.
  bool HasOwn(const std::string& group) const;
  // An unfinished trial for the group; -1: none.
  int Waiting(const Group& group) const;
  int Used(const Group& group) const;
  bool IsHolder(const GroupReport& report, const TrialAttempt& id) const;
  const TrialRecord* Find(int number) const;  // null: no such trial

  absl::Status ConcludeIfOver(net::Time now);
  absl::Status Conclude(StudyPhase phase, const std::string& reason, net::Time now);
  // Everything that follows from what is known; false when the actor has ended.
  bool Advance(net::Outbox* out);
  void End(absl::Status result, net::Outbox* out);
  Assignment AssignmentOf(const Group& group) const;
  void Send(Group* group, const std::vector<TrialAttempt>& settled, net::Outbox* out);
  void SpeakUnasked(net::Outbox* out);
  void Wake(net::Outbox* out) const;
  void Report(const std::string& text) const;

  SchedulerOptions options_;
  Journal* journal_;
  Strategy* strategy_;
  std::map<std::string, Group> groups_;  // by name
  std::map<int, Held> leases_;           // by trial
  std::map<int, Lease> waiting_;         // unfinished trials that nobody has
  StudyPhase phase_ = StudyPhase::kRunning;
  std::string reason_;
  int succeeded_ = 0, failed_ = 0;  // of this process
  uint64_t messages_ = 0;
  bool draining_ = false, ended_ = false;
  net::Time drain_until_ = net::kNever;
  net::Time linger_until_ = net::kNever;  // after the end groups get some time to hear of it
  absl::Status result_;
};

}  // namespace mixrec::scheduler
