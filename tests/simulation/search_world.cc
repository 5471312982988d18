#include "tests/simulation/search_world.h"

#include <map>
#include <memory>
#include <set>
#include <utility>

#include "common/log.h"
#include "common/random.h"
#include "net/simulation.h"
#include "tests/simulation/observed_scheduler.h"
#include "tests/simulation/search_check.h"
#include "tests/simulation/search_disk.h"
#include "tests/simulation/search_group.h"

namespace mixrec::scheduler {
namespace {

using net::kSecond;
using net::Time;

constexpr char kScheduler[] = "tcp://scheduler:1";
constexpr Time kLease = 6 * kSecond, kHeartbeat = kSecond;

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
    network.describe = DescribeSearchMessage;
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
    attempts_ = CheckJournal(disk_.durable, &shared_);
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

SearchWorldResult RunSearchWorld(const SearchWorldOptions& options) {
  return SearchWorld(options).Run();
}

}  // namespace mixrec::scheduler
