#include "collective/mpi_world.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <map>
#include <thread>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "collective/engine.h"
#include "collective/host_group.h"
#include "collective/mpi_transport.h"
#include "collective/process_life.h"
#include "common/log.h"

namespace mixrec::collective {
namespace {

constexpr int kMeetingSpace = 0, kGroupSpace = 1, kWorldSpace = 2, kGoodbyeSpace = 3;

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string ThisHost() {
  char name[256] = {};
  ::gethostname(name, sizeof(name) - 1);
  return name;
}

// What a process says of itself at the meeting.
struct Introduction {
  std::string role, host, fingerprint;
  ProcessId process;
};

std::string ToText(const Introduction& one) {
  return StrCat(one.role, "\t", one.host, "\t", one.process.pid, "\t", one.process.start_time, "\t",
                one.fingerprint);
}

Introduction ParseIntroduction(const std::string& text) {
  const std::vector<std::string> fields = absl::StrSplit(text, '\t');
  Introduction one;
  if (fields.size() != 5) return one;
  one.role = fields[0];
  one.host = fields[1];
  absl::SimpleAtoi(fields[2], &one.process.pid) &&
      absl::SimpleAtoi(fields[3], &one.process.start_time);
  one.fingerprint = fields[4];
  return one;
}

std::vector<Member> MembersOf(const std::vector<Introduction>& all,
                              const std::vector<int>& world_ranks) {
  std::vector<Member> members;
  std::map<std::string, int> on_host;
  for (const int world_rank : world_ranks) {
    const Introduction& one = all[static_cast<size_t>(world_rank)];
    members.push_back(
        {static_cast<int>(members.size()), one.host, one.process.pid, on_host[one.host]++});
  }
  return members;
}

// Whether they all have ended, within the time.
bool WaitForEndOf(const std::vector<ProcessId>& processes, double seconds) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (std::any_of(processes.begin(), processes.end(), Lives)) {
    if (std::chrono::steady_clock::now() >= until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

std::vector<int> Everybody(int size) {
  std::vector<int> ranks;
  for (int rank = 0; rank < size; ++rank) ranks.push_back(rank);
  return ranks;
}

absl::Status CheckFingerprints(const std::vector<Introduction>& all, const Group& group,
                               const std::vector<int>& world_ranks) {
  const auto of = [&](size_t rank) {
    return all[static_cast<size_t>(world_ranks[rank])].fingerprint;
  };
  for (size_t rank = 1; rank < world_ranks.size(); ++rank) {
    if (of(rank) == of(0)) continue;
    return UsageError(Describe(group.members()[rank]), " has other flags or another program than ",
                      Describe(group.members()[0]), "; all ranks of a command need the same");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<bool> MpiWorld::IsLaunched() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK"}) {
    if (!Environment(name).empty()) return true;
  }
  int tasks = 1;
  const std::string text = Environment("SLURM_STEP_NUM_TASKS");
  if (!Environment("SLURM_PROCID").empty() && absl::SimpleAtoi(text, &tasks) && tasks > 1) {
    return UsageError("srun started ", tasks, " tasks without MPI, each alone: use ",
                      "srun --mpi=pmix, or mpirun");
  }
  // What torchrun sets; a stray WORLD_SIZE alone is nothing to us.
  if (!Environment("LOCAL_RANK").empty() && !Environment("RANK").empty() &&
      absl::SimpleAtoi(Environment("WORLD_SIZE"), &tasks) && tasks > 1) {
    return UsageError("RANK and WORLD_SIZE=", tasks, " say that there are ", tasks, " processes, ",
                      "but they speak by MPI: start them by mpirun or srun --mpi=pmix, not by ",
                      "torchrun");
  }
  return false;
}

absl::StatusOr<std::unique_ptr<MpiWorld>> MpiWorld::Join(const Options& options) {
  std::unique_ptr<MpiWorld> world(new MpiWorld());
  MIXREC_RETURN_IF_ERROR(world->Meet(options));
  return world;
}

absl::Status MpiWorld::Meet(const Options& options) {
  int rank = 0, size = 0;
  engine_ =
      std::make_unique<Engine>([&rank, &size]() -> absl::StatusOr<std::unique_ptr<Transport>> {
        MIXREC_ASSIGN_OR_RETURN(std::unique_ptr<Transport> transport, StartMpi());
        rank = transport->rank();
        size = transport->size();
        return transport;
      });
  MIXREC_RETURN_IF_ERROR(engine_->WaitUntilUp(options.patience_seconds));
  const Introduction self{options.role, ThisHost(), options.fingerprint, ThisProcess()};
  std::vector<Introduction> all(static_cast<size_t>(size));
  for (Introduction& one : all) one.host = "a host not known yet";
  {
    HostGroup meeting(engine_.get(), MembersOf(all, Everybody(size)), Everybody(size), rank,
                      kMeetingSpace);
    meeting.set_patience(options.patience_seconds);
    MIXREC_ASSIGN_OR_RETURN(const std::vector<std::string> texts,
                            GatherTexts(&meeting, ToText(self), "the meeting of all processes"));
    std::transform(texts.begin(), texts.end(), all.begin(), ParseIntroduction);
  }
  std::vector<int> of_role;
  for (int other = 0; other < size; ++other) {
    roles_.push_back(all[static_cast<size_t>(other)].role);
    if (roles_.back() == options.role) of_role.push_back(other);
  }
  const auto own = std::find(of_role.begin(), of_role.end(), rank) - of_role.begin();
  world_ = std::make_unique<HostGroup>(engine_.get(), MembersOf(all, Everybody(size)),
                                       Everybody(size), rank, kWorldSpace);
  group_ = std::make_unique<HostGroup>(engine_.get(), MembersOf(all, of_role), of_role,
                                       static_cast<int>(own), kGroupSpace);
  world_->set_patience(options.patience_seconds);
  group_->set_patience(options.patience_seconds);
  for (int other = 0; other < size; ++other) {
    const Introduction& one = all[static_cast<size_t>(other)];
    if (other != rank && one.host == self.host) here_[other] = one.process;
  }
  engine_->set_is_alive([here = here_](int other) {
    const auto found = here.find(other);
    return found == here.end() || Lives(found->second);
  });
  const absl::Status same = CheckFingerprints(all, *group_, of_role);
  if (!same.ok()) engine_->Fail(same, "");  // the other roles must not wait for this one
  return same;
}

MpiWorld::~MpiWorld() {
  if (engine_ == nullptr || engine_->failure().ok()) return;
  engine_->WaitUntilTold();
  engine_->Abandon();
}

Group* MpiWorld::group() { return group_.get(); }
const std::vector<int>& MpiWorld::group_world_ranks() const { return group_->world_ranks(); }
Group* MpiWorld::world() { return world_.get(); }
bool MpiWorld::IsHere(int rank) const { return here_.count(rank) > 0; }
bool MpiWorld::EndsWithin(int rank, double seconds) const {
  return WaitForEndOf({here_.at(rank)}, seconds);
}
std::function<void(double)> MpiWorld::waits_for_others() const {
  std::vector<ProcessId> others;
  for (const auto& [rank, process] : here_) others.push_back(process);
  return [others](double seconds) { WaitForEndOf(others, seconds); };
}

absl::Status MpiWorld::SayGoodbye() {
  if (goodbye_) return *goodbye_;
  HostGroup everybody(engine_.get(), world_->members(), world_->world_ranks(), world_->rank(),
                      kGoodbyeSpace);
  everybody.set_patience(world_->patience());
  goodbye_ = everybody.Barrier("the end of the run");
  return *goodbye_;
}

absl::Status MpiWorld::SumByMpi(const at::Tensor& tensor) {
  CHECK(tensor.is_contiguous() && tensor.scalar_type() == at::kFloat && tensor.is_cpu());
  const Party everybody{world_->world_ranks(), world_->rank()};
  Engine::Task task;
  task.operation = MakeMpiAllReduce(everybody, tensor.data_ptr<float>(), tensor.numel());
  task.what = "MPI_Allreduce";
  task.patience_seconds = world_->patience();
  task.name = [this](int rank) { return Describe(world_->members()[static_cast<size_t>(rank)]); };
  task.world_ranks = everybody.world_ranks;
  return engine_->Wait(engine_->Start(std::move(task)));
}

absl::Status MpiWorld::failure() const { return engine_->failure(); }

int MpiWorld::LeaderOf(const std::string& role) const {
  const auto found = std::find(roles_.begin(), roles_.end(), role);
  return found == roles_.end() ? -1 : static_cast<int>(found - roles_.begin());
}

}  // namespace mixrec::collective
