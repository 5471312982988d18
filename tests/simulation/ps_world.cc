#include "tests/simulation/ps_world.h"

#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "common/log.h"
#include "common/random.h"
#include "net/simulation.h"
#include "ps/authority.h"
#include "ps/shard.h"
#include "tests/simulation/ps_message_text.h"
#include "tests/simulation/ps_worker.h"
#include "tests/test_folder.h"

namespace mixrec::ps {
namespace {

using net::kMillisecond;
using net::kSecond;
using net::Time;

constexpr char kAuthority[] = "tcp://authority:1";
constexpr int kMostRestarts = 100;  // then the job will never end

// Everything that is going on in one run.
class World {
 public:
  explicit World(const WorldOptions& options)
      : options_(options),
        random_(HashKey(options.seed, "world")),
        network_(options.seed, NetworkOptions(options)),
        job_(options) {
    if (options.save_every > 0) {
      job_.folder = StrCat(TestFolder(), "/world-", options.seed, options.calm ? "-calm" : "");
    }
  }
  ~World() {
    std::error_code ignored;
    if (!job_.folder.empty()) std::filesystem::remove_all(job_.folder, ignored);
  }

  WorldResult Run() {
    StartAuthority();
    const int processes = options_.shards * (1 + options_.replicas);
    for (int p = 0; p < processes; ++p) StartShard(p);
    StartJob();
    if (!options_.calm) PlanFaults(processes);
    const Time last_fault = 20 * kSecond + options_.faults * 12 * kSecond;
    const auto over = [this] { return Over(); };
    bool done = RunUntil(over, last_fault);
    if (!done) {
      network_.options()->drop = network_.options()->duplicate = 0;
      network_.Heal();
      done = RunUntil(over, last_fault + 600 * kSecond);
    }
    WorldResult result;
    result.violation = job_.violation;
    if (!done && result.violation.empty()) result.violation = "the job does not end: " + Stuck();
    if (options_.gentle && restarts_ > 0 && result.violation.empty()) {
      result.violation = "the job had to be started again: " + last_failure_;
    }
    result.history = network_.history();
    result.events = network_.events();
    result.restarts = restarts_;
    result.takeovers = takeovers_;
    result.parameters = job_.parameters;
    result.trace = network_.trace() + log_;
    return result;
  }

 private:
  static net::SimulationOptions NetworkOptions(const WorldOptions& options) {
    net::SimulationOptions network;
    network.trace = options.trace;
    network.describe = DescribePsMessage;
    if (options.calm) return network;
    network.drop = options.drop;
    network.duplicate = options.duplicate;
    network.straggle = options.straggle;
    return network;
  }

  bool Over() const { return !job_.violation.empty() || job_.ranks_done == options_.workers; }

  std::string Stuck() const {
    std::string text = job_.failure;
    for (const int64_t step : job_.started) text += StrCat(" step ", step);
    return text;
  }

  // As the network goes on, the launcher looks after the job, and dead shards come back.
  bool RunUntil(const std::function<bool()>& done, Time limit) {
    while (network_.now() < limit) {
      const auto stop = [&] { return done() || job_.failed || torn_ >= 0; };
      network_.RunUntil(stop, limit);
      if (torn_ >= 0) {
        const int process = torn_;
        torn_ = -1;
        KillShard(process, 2 * kSecond);
      }
      if (done()) return true;
      if (job_.failed && restarts_ == kMostRestarts) return false;
      if (job_.failed) RestartJob();
    }
    return done();
  }

  void StartAuthority() {
    AuthorityOptions authority;
    authority.shards = options_.shards;
    authority.replicas = options_.replicas;
    authority.dead_after = 2 * kSecond;
    authority.map = journal_;
    authority.journal = [this](const ShardMap& map) {
      journal_ = map;
      return absl::OkStatus();
    };
    authority.report = [this](const std::string& text) {
      if (text.find("takes over") != std::string::npos) ++takeovers_;
      if (options_.trace) log_ += StrCat(network_.now(), " authority: ", text, "\n");
    };
    network_.Add(kAuthority, std::make_unique<Authority>(authority));
  }

  static std::string ShardName(int process) { return StrCat("tcp://shard", process, ":1"); }

  void StartShard(int process) {
    ShardOptions shard;
    shard.endpoint = ShardName(process);
    shard.incarnation = ++incarnations_;
    shard.authority = kAuthority;
    shard.heartbeat = 300 * kMillisecond;
    shard.orphan_after = 0;
    shard.replication.resend = 100 * kMillisecond;
    shard.replication.piece_bytes = 300;
    shard.mutation = options_.mutation;
    shard.dies_after_saving = [this, process](const std::string& path) {
      return Tear(process, path);
    };
    network_.Add(shard.endpoint, std::make_unique<Shard>(shard));
  }

  // A crash while a file is written leaves a piece of it; one that is whole already stays whole.
  bool Tear(int process, const std::string& path) {
    if (options_.calm || torn_ >= 0 || whole_files_.count(path) > 0) return false;
    if (random_.Uniform() >= options_.tear) {
      whole_files_.insert(path);
      return false;
    }
    std::error_code error;
    const auto size = std::filesystem::file_size(path, error);
    std::filesystem::resize_file(path, size * random_.Below(100) / 100, error);
    torn_ = process;
    return true;
  }

  void KillShard(int process, Time down) {
    Note(StrCat("kill shard ", process));
    network_.Kill(ShardName(process));
    network_.At(network_.now() + down, [this, process] {
      if (!network_.Alive(ShardName(process))) StartShard(process);
    });
  }

  std::string WorkerName(int rank) const { return StrCat("worker", rank, ".", job_.attempt); }

  void StartJob() {
    for (int rank = 0; rank < options_.workers; ++rank) {
      ClientOptions client;
      client.caller.servers = {kAuthority};
      // All ranks start at the same moment.
      client.caller.incarnation = IncarnationAt(kSecond + network_.now(), rank);
      client.caller.retry = 400 * kMillisecond;
      client.caller.deadline = 30 * kSecond;
      client.caller.peer_deadline = 60 * kSecond;
      client.caller.window_bytes = 3000;
      client.session = {"simulated",        rank, options_.workers, options_.consistency,
                        options_.staleness, 3600};
      client.message_bytes = 48;
      network_.Add(WorkerName(rank), std::make_unique<SimulatedWorker>(client, rank, &job_));
    }
  }

  // What mpirun does when a rank ends: all end; and then the user starts the job once more.
  void RestartJob() {
    Note(StrCat("restart of the job: ", job_.failure));
    for (int rank = 0; rank < options_.workers; ++rank) {
      if (network_.Alive(WorkerName(rank))) network_.Kill(WorkerName(rank));
    }
    ++restarts_;
    last_failure_ = job_.failure;
    if (options_.mutation == Mutation::kTornSnapshot) job_.TakeTornSnapshot();
    job_.StartAgain();
    StartJob();
  }

  void PlanFaults(int processes) {
    Time at = 0;
    for (int fault = 0; fault < options_.faults; ++fault) {
      // The first comes while the job is at work; gentle ones then leave time to recover: failure
      // detection, a new process, its state.
      const double work = 0.1 + static_cast<double>(options_.steps) * options_.think_seconds / 2;
      const Time first = Uniform(0, static_cast<Time>(work * kSecond));
      at += fault == 0        ? first
            : options_.gentle ? Uniform(8 * kSecond, 10 * kSecond)
                              : Uniform(0, 3 * kSecond);
      const int process = static_cast<int>(random_.Below(static_cast<uint64_t>(processes)));
      const auto kind = random_.Below(options_.gentle ? 4 : 8);
      const Time lasts = Uniform(0, options_.gentle ? 6 * kSecond : 8 * kSecond);
      const auto other = static_cast<int>(random_.Below(static_cast<uint64_t>(processes)));
      const auto both = random_.Below(2) == 0;
      network_.At(at, [=] { Fault(kind, process, other, lasts, both); });
    }
  }

  void Fault(uint64_t kind, int process, int other, Time lasts, bool both) {
    const std::string name = ShardName(process);
    switch (kind) {
      case 0:
        if (network_.Alive(name)) KillShard(process, lasts);
        return;
      case 1:
        if (!network_.Alive(name)) return;
        Note(StrCat("pause shard ", process, " for ", lasts));
        network_.Pause(name);
        network_.At(network_.now() + lasts, [this, name] {
          if (network_.Alive(name)) network_.Continue(name);
        });
        return;
      case 2:
        // To some the process lives, to others it is gone: a second primary is made.
        if (both && lasts > kSecond) Cut(name, WorkerName(other % options_.workers), lasts, true);
        return Cut(name, kAuthority, lasts, both);
      case 3:
        return Cut(name, ShardName(other), lasts, both);
      case 4:
        return Cut(name, WorkerName(0), lasts, both);
      case 5:
        Note("kill the authority");
        if (network_.Alive(kAuthority)) network_.Kill(kAuthority);
        network_.At(network_.now() + lasts, [this] {
          if (!network_.Alive(kAuthority)) StartAuthority();
        });
        return;
      default: {  // one rank dies, the others some moments later
        const std::string victim = WorkerName(other % options_.workers);
        if (!network_.Alive(victim)) return;
        Note(StrCat("kill ", victim));
        network_.Kill(victim);
        network_.At(network_.now() + lasts / 8, [this, attempt = job_.attempt] {
          if (job_.attempt != attempt || Over()) return;
          job_.failed = true;
          job_.failure = "a rank was killed";
        });
      }
    }
  }

  void Cut(const std::string& a, const std::string& b, Time lasts, bool both) {
    if (a == b) return;
    Note(StrCat("cut ", a, both ? " <-> " : " -> ", b, " for ", lasts));
    network_.Partition(a, b, both);
    network_.At(network_.now() + lasts, [this] { network_.Heal(); });
  }

  Time Uniform(Time from, Time to) {
    return from + static_cast<Time>(random_.Uniform() * static_cast<double>(to - from));
  }

  void Note(const std::string& text) {
    if (options_.trace) log_ += StrCat(network_.now(), " ", text, "\n");
  }

  const WorldOptions options_;
  RandomStream random_;
  net::Simulation network_;
  Job job_;
  ShardMap journal_;
  uint64_t incarnations_ = 0;
  int restarts_ = 0, takeovers_ = 0;
  int torn_ = -1;  // the process that crashed while it wrote
  std::set<std::string> whole_files_;
  std::string last_failure_, log_;
};

}  // namespace

WorldResult RunWorld(const WorldOptions& options) { return World(options).Run(); }

}  // namespace mixrec::ps
