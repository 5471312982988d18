// The scheduler of a simulated search, and what it leaves behind when it ends.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "net/actor.h"
#include "scheduler/scheduler.h"
#include "tests/simulation/search_group.h"

namespace mixrec::scheduler {

// Proposes numbered trials, and notices who is told what.
class CountingStrategy : public Strategy {
 public:
  explicit CountingStrategy(Shared* shared) : shared_(shared) {}

  bool HasMore(const StudyRecord& study) const override {
    int used = 0;
    for (const TrialRecord& trial : study.trials) used += trial.state != TrialState::kFailed;
    const int trials = shared_->options.trials;
    return used < trials && static_cast<int>(study.trials.size()) < 3 * trials;
  }
  absl::StatusOr<Proposal> Propose(const StudyRecord& study) override {
    if (!HasMore(study)) shared_->Violate("asked for a trial too many");
    return Proposal{{{"bit", {"serial", "parallel"}, 1}}, {{"architecture", "1"}}};
  }
  void Told(const TrialRecord& trial) override {
    if (shared_->ends.count(trial.number) > 0) {
      shared_->Violate(StrCat("trial ", trial.number, " ends a second time"));
    }
    shared_->ends[trial.number] = TrialStateName(trial.state);
    if (trial.value) shared_->results[trial.number] = *trial.value;
  }
  std::optional<EarlyStop> StopsEarly(const StudyRecord&, const TrialRecord& trial) override {
    const int epoch = trial.intermediate_values.rbegin()->first;
    const SearchWorldOptions& options = shared_->options;
    RandomStream random(HashKey(options.seed, "hopeless", static_cast<uint64_t>(trial.number),
                                static_cast<uint64_t>(epoch)));
    if (epoch >= options.epochs || random.Uniform() >= options.early_stop) return std::nullopt;
    return EarlyStop{"drawn", -1.0 * trial.number};
  }
  std::string Work(const TrialRecord& trial) override { return StrCat("work ", trial.number); }

 private:
  Shared* shared_;
};

class ObservedScheduler : public net::Actor {
 public:
  struct End {
    bool ended = false;
    absl::Status result;
  };
  ObservedScheduler(const SchedulerOptions& options, Journal journal, Shared* shared, End* end)
      : journal_(std::move(journal)),
        strategy_(shared),
        scheduler_(options, &journal_, &strategy_),
        shared_(shared),
        end_(end) {
    journal_.set_mutation(options.mutation);
  }

  void Start(net::Outbox* out) override {
    scheduler_.Start(out);
    Look(out);
  }
  void Receive(const net::Peer& from, const net::Message& message, net::Outbox* out) override {
    scheduler_.Receive(from, message, out);
    Look(out);
  }
  void Tick(net::Outbox* out) override {
    scheduler_.Tick(out);
    Look(out);
  }
  void Drain(net::Outbox* out) {
    scheduler_.Drain(out->now() + 2 * net::kSecond, out);
    Look(out);
  }

 private:
  void Look(net::Outbox* out) {
    for (const auto& [group, count] : scheduler_.LeaseCounts()) {
      if (count > shared_->options.slots) {
        shared_->Violate(StrCat("group ", group, " has ", count, " leases"));
      }
    }
    if (!out->stopped()) return;
    *end_ = {true, scheduler_.result()};
  }

  Journal journal_;
  CountingStrategy strategy_;
  Scheduler scheduler_;
  Shared* shared_;
  End* end_;
};

}  // namespace mixrec::scheduler
