#include "tests/simulation/search_world.h"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "common/log.h"
#include "common/random.h"
#include "net/simulation.h"
#include "scheduler/codec.h"
#include "scheduler/scheduler.h"
#include "tests/simulation/search_disk.h"
#include "tests/simulation/search_group.h"

namespace mixrec::scheduler {
namespace {

using net::kSecond;
using net::Time;

constexpr char kScheduler[] = "tcp://scheduler:1";
constexpr Time kLease = 6 * kSecond, kHeartbeat = kSecond;

std::string DescribeMessage(const net::Message& message) {
  const absl::StatusOr<Body> body = Decode(message);
  if (!body.ok()) return "malformed";
  std::string text;
  if (const auto* report = std::get_if<GroupReport>(&*body)) {
    text = StrCat("report #", report->sequence, report->ready ? "" : " (not ready)",
                  report->group.state == GroupState::kLeft ? " leaves" : "");
    for (const HeldTrial& held : report->trials) {
      text += StrCat(" ", held.id.trial, "/", held.id.attempt, ":",
                     static_cast<int>(held.outcome.kind));
    }
  } else {
    const auto& assignment = std::get<Assignment>(*body);
    text = StrCat("assignment #", assignment.number, " to report ", assignment.heard);
    for (const auto& trial : assignment.trials)
      text += StrCat(" ", trial.id.trial, "/", trial.id.attempt);
    for (const auto& id : assignment.settled)
      text += StrCat(" settled ", id.trial, "/", id.attempt);
  }
  return text;
}

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

// The scheduler, and what it leaves behind when it ends.
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
    scheduler_.Drain(out->now() + 2 * kSecond, out);
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

class SearchWorld {
 public:
  explicit SearchWorld(const SearchWorldOptions& options)
      : options_(options),
        shared_(options_),
        random_(HashKey(options.seed, "world")),
        network_(options.seed, NetworkOptions(options)) {
    disk_.dies = [this] { return random_.Uniform() < tear_ ? random_.Uniform() : -1.0; };
    tear_ = options.tear;
  }

  SearchWorldResult Run() {
    StartScheduler();
    // The first is there from the start and for good; others come late, or never come back.
    StartGroup(0);
    for (int g = 1; g < options_.groups; ++g) StartLater(g, Uniform(0, 5 * kSecond));
    PlanFaults();
    RunUntil(fault_end_);
    if (!Over()) {
      tear_ = 0;
      network_.options()->drop = network_.options()->duplicate = network_.options()->straggle = 0;
      network_.Heal();
      for (int g = 0; g < options_.groups; ++g) {
        if (network_.Alive(Name(g))) network_.Continue(Name(g));
      }
      calm_ = true;
      if (!network_.Alive(kScheduler) && !end_.ended) StartScheduler();
      Revive();
      RunUntil(network_.now() + 600 * kSecond);
    }
    return Result();
  }

 private:
  static net::SimulationOptions NetworkOptions(const SearchWorldOptions& options) {
    net::SimulationOptions network;
    network.drop = options.drop;
    network.duplicate = options.duplicate;
    network.straggle = options.straggle;
    network.straggle_delay = 9 * kSecond;
    network.trace = options.trace;
    network.describe = DescribeMessage;
    return network;
  }

  // The study has ended by itself.
  bool Finished() const { return end_.ended && end_.result.ok(); }
  bool Over() const { return !shared_.violation.empty() || Finished(); }

  void RunUntil(Time limit) {
    while (!Over() && network_.now() < limit) {
      network_.RunUntil(
          [this] {
            CheckLeases();
            return Over() || end_.ended;
          },
          limit);
      if (!end_.ended || Finished()) continue;
      // It has died as it wrote, or was asked to stop.
      Note(StrCat("the scheduler has ended: ", end_.result.ToString()));
      end_ = {};
      ++scheduler_deaths_;
      network_.At(network_.now() + Uniform(0, 4 * kSecond), [this] {
        if (!network_.Alive(kScheduler)) StartScheduler();
      });
    }
    // Groups hear of the end, or give up.
    if (Finished()) network_.RunUntil(network_.now() + 200 * kSecond);
  }

  void CheckLeases() {
    std::map<int, int> holders;
    for (int g = 0; g < options_.groups; ++g) {
      auto* actor = static_cast<SimulatedGroup*>(network_.actor(Name(g)));
      if (actor == nullptr) continue;
      for (const TrialAttempt& id : actor->group().Working()) {
        if (actor->group().HoldsLease(id, network_.now()) && ++holders[id.trial] > 1) {
          shared_.Violate(StrCat("two groups have a live lease of trial ", id.trial));
        }
      }
    }
  }

  // --- who lives ---------------------------------------------------------------------------------

  void StartScheduler() {
    auto journal = Journal::OpenOn(std::make_unique<SimulatedStorage>(&disk_), "journal",
                                   [this] { return StrCat(network_.now()); });
    if (!journal.ok()) return shared_.Violate(std::string(journal.status().message()));
    const double tear = std::exchange(tear_, 0);
    if (!journal->study().created) {
      CHECK(journal->CreateStudy("simulated", true).ok());
    }
    tear_ = calm_ ? 0 : tear;
    SchedulerOptions scheduler;
    scheduler.incarnation = ++incarnations_;
    scheduler.lease = kLease;
    scheduler.heartbeat = kHeartbeat;
    scheduler.retries = options_.retries;
    scheduler.tolerated_failures = 1000;
    scheduler.study = "what to do";
    scheduler.settings = "the study's";
    scheduler.mutation = options_.mutation;
    scheduler.report = [this](const std::string& text) { Note(StrCat("scheduler: ", text)); };
    end_ = {};
    network_.Add(kScheduler, std::make_unique<ObservedScheduler>(scheduler, std::move(*journal),
                                                                 &shared_, &end_));
  }

  static std::string Name(int group) { return StrCat("group", group); }

  void StartGroup(int group) {
    GroupOptions options;
    options.group.name = Name(group);
    options.group.incarnation = ++incarnations_;
    options.group.slots = options_.slots;
    options.group.host = "simulated";
    options.group.device = "simulated";
    options.scheduler = kScheduler;
    options.resend = kSecond / 2;
    options.deadline = 60 * kSecond;
    options.farewell = 3 * kSecond;
    options.report = [this, group](const std::string& text) {
      Note(StrCat(Name(group), ": ", text));
    };
    network_.Add(Name(group), std::make_unique<SimulatedGroup>(options, &shared_, &left_[group]));
  }

  void KillGroup(int group, Time down) {
    ++group_deaths_;
    Note(StrCat("kill ", Name(group)));
    network_.Kill(Name(group));
    StartLater(group, down);
  }

  void StartLater(int group, Time down) {
    network_.At(network_.now() + down, [this, group] {
      if (!network_.Alive(Name(group)) && !Finished() && gone_.count(group) == 0) StartGroup(group);
    });
  }

  void Revive() {
    for (int g = 0; g < options_.groups; ++g) {
      if (!network_.Alive(Name(g)) && gone_.count(g) == 0) StartGroup(g);
    }
  }

  // --- faults ------------------------------------------------------------------------------------

  void PlanFaults() {
    const double work = options_.trials * options_.epochs * options_.epoch_seconds /
                        (options_.groups * options_.slots);
    Time at = 0;
    for (int fault = 0; fault < options_.faults; ++fault) {
      at += Uniform(0, static_cast<Time>(2 * work / options_.faults * kSecond) + kSecond);
      const auto kind = random_.Below(9);
      const auto group = static_cast<int>(random_.Below(static_cast<uint64_t>(options_.groups)));
      const Time lasts = Uniform(0, 12 * kSecond);
      const bool both = random_.Below(2) == 0;
      network_.At(at, [=] { Fault(kind, group, lasts, both); });
    }
    fault_end_ = at + 15 * kSecond;
  }

  void Fault(uint64_t kind, int group, Time lasts, bool both) {
    if (Over()) return;
    const std::string name = Name(group);
    switch (kind) {
      case 0:
      case 1:
        if (kind == 1 && group > 0 && both) gone_.insert(group);
        if (network_.Alive(name)) KillGroup(group, lasts);
        return;
      case 2:
      case 3:
        Note(StrCat("pause ", kind == 2 ? name : kScheduler, " for ", lasts));
        return Pause(kind == 2 ? name : kScheduler, lasts);
      case 4:
        if (!network_.Alive(name)) return;
        Note(StrCat("cut ", name, both ? " <-> " : " -> ", "scheduler for ", lasts));
        network_.Partition(name, kScheduler, both);
        network_.At(network_.now() + lasts, [this] { network_.Heal(); });
        return;
      case 5:
        if (!network_.Alive(name)) return;
        Note(StrCat(name, " is asked to leave"));
        network_.Post(name, [this, name](net::Outbox* out) {
          static_cast<SimulatedGroup*>(network_.actor(name))->group().Leave("asked to", out);
        });
        return StartLater(group, lasts + 5 * kSecond);
      case 6:
        if (!network_.Alive(kScheduler)) return;
        Note("the scheduler is asked to stop");
        network_.Post(kScheduler, [this](net::Outbox* out) {
          static_cast<ObservedScheduler*>(network_.actor(kScheduler))->Drain(out);
        });
        return;
      default:
        return KillScheduler(lasts);
    }
  }

  void Pause(const std::string& name, Time lasts) {
    if (!network_.Alive(name)) return;
    network_.Pause(name);
    network_.At(network_.now() + lasts, [this, name] {
      if (network_.Alive(name)) network_.Continue(name);
    });
  }

  void KillScheduler(Time down) {
    if (!network_.Alive(kScheduler)) return;
    Note("kill the scheduler");
    ++scheduler_deaths_;
    network_.Kill(kScheduler);
    disk_.Crash(random_.Uniform());
    network_.At(network_.now() + down, [this] {
      if (!network_.Alive(kScheduler)) StartScheduler();
    });
  }

  // --- the end -----------------------------------------------------------------------------------

  SearchWorldResult Result() {
    CheckEnd();
    SearchWorldResult result;
    result.violation = shared_.violation;
    result.history = network_.history();
    result.events = network_.events();
    result.scheduler_deaths = scheduler_deaths_;
    result.group_deaths = group_deaths_;
    result.trials = static_cast<int>(shared_.ends.size());
    for (const auto& [trial, end] : shared_.ends) {
      result.failed += end == "failed";
      result.pruned += end == "pruned";
    }
    result.attempts = attempts_;
    result.trace = network_.trace() + log_;
    return result;
  }

  void CheckEnd() {
    disk_.Crash(1);  // no crash: what was written is there in the end
    if (!shared_.violation.empty()) return;
    if (!Finished()) return shared_.Violate("the study does not end");
    for (int g = 0; g < options_.groups; ++g) {
      if (network_.Alive(Name(g))) shared_.Violate(StrCat(Name(g), " does not end"));
    }
    const auto study = ReplayJournal(disk_.durable, "journal");
    if (!study.ok()) return shared_.Violate(std::string(study.status().message()));
    CheckTrials(*study);
    CheckRecords();
  }

  void CheckTrials(const StudyRecord& study) {
    int used = 0;
    for (const TrialRecord& trial : study.trials) {
      attempts_ += LeaseOf(trial).attempt;
      used += trial.state != TrialState::kFailed;
      if (!trial.finished()) shared_.Violate(StrCat("trial ", trial.number, " has not ended"));
      const auto told = shared_.results.find(trial.number);
      if (trial.value && (told == shared_.results.end() || told->second != *trial.value)) {
        shared_.Violate(StrCat("trial ", trial.number, " has another result than the first"));
      }
    }
    if (used != options_.trials && static_cast<int>(study.trials.size()) < 3 * options_.trials) {
      shared_.Violate(StrCat(used, " trials instead of ", options_.trials));
    }
  }

  // Lines of the journal that end a trial, counted as text.
  void CheckRecords() {
    std::map<int, int> ends;
    size_t begin = 0;
    for (size_t end; (end = disk_.durable.find('\n', begin)) != std::string::npos;
         begin = end + 1) {
      const auto record = nlohmann::json::parse(disk_.durable.substr(begin, end - begin));
      if (record.value("op_code", -1) == 6) ++ends[record.at("trial_id").get<int>()];
    }
    for (const auto& [trial, count] : ends) {
      if (count != 1) shared_.Violate(StrCat("trial ", trial, " has ", count, " results"));
    }
  }

  Time Uniform(Time from, Time to) {
    return from + static_cast<Time>(random_.Uniform() * static_cast<double>(to - from));
  }
  void Note(const std::string& text) {
    if (options_.trace) log_ += StrCat(network_.now(), " ", text, "\n");
  }

  const SearchWorldOptions options_;
  Shared shared_;
  RandomStream random_;
  Disk disk_;
  double tear_ = 0;
  std::map<int, std::string> left_;  // results of groups; outlives the network
  ObservedScheduler::End end_;
  net::Simulation network_;
  uint64_t incarnations_ = 0;
  std::set<int> gone_;  // groups that will not come back
  bool calm_ = false;
  Time fault_end_ = 0;
  int scheduler_deaths_ = 0, group_deaths_ = 0, attempts_ = 0;
  std::string log_;
};

}  // namespace

SearchWorldOptions DrawSearchWorld(uint64_t seed, Mutation mutation) {
  RandomStream random(HashKey(seed, "search options"));
  const auto up_to = [&](int low, int high) {
    return low + static_cast<int>(random.Below(static_cast<uint64_t>(high - low + 1)));
  };
  const auto sometimes = [&](double most) {
    return random.Below(2) == 0 ? 0 : random.Uniform() * most;
  };
  SearchWorldOptions options;
  options.seed = seed;
  options.mutation = mutation;
  options.groups = up_to(1, 4);
  options.slots = up_to(1, 2);
  options.trials = up_to(2, 9);
  options.epochs = up_to(1, 4);
  constexpr double kEpochs[] = {0.3, 1.5, 4, 9};
  options.epoch_seconds = kEpochs[random.Below(4)];
  options.drop = sometimes(0.2);
  options.duplicate = sometimes(0.2);
  options.straggle = sometimes(0.1);
  options.tear = sometimes(0.03);
  options.bad = sometimes(0.1);
  options.unlucky = sometimes(0.1);
  options.early_stop = sometimes(0.2);
  options.retries = up_to(0, 4);
  options.faults = up_to(1, 8);
  return options;
}

std::string Describe(const SearchWorldOptions& options) {
  return StrCat("seed ", options.seed, ": ", options.groups, " groups of ", options.slots,
                " slots, ", options.trials, " trials of ", options.epochs, " epochs of ",
                options.epoch_seconds, " s, ", options.faults, " faults, ", options.retries,
                " retries, drop ", options.drop, ", duplicate ", options.duplicate, ", straggle ",
                options.straggle, ", tear ", options.tear);
}

SearchWorldResult RunSearchWorld(const SearchWorldOptions& options) {
  return SearchWorld(options).Run();
}

}  // namespace mixrec::scheduler
