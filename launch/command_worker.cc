// `mixrec worker`: a group that takes trials from a scheduler.
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <thread>

#include "common/file.h"
#include "common/log.h"
#include "common/stop_signal.h"
#include "launch/clock_text.h"
#include "launch/commands.h"
#include "launch/flag_line.h"
#include "launch/flags.h"
#include "launch/flags_ps.h"
#include "launch/flags_search.h"
#include "launch/group_link.h"
#include "launch/group_ranks.h"
#include "launch/group_service.h"
#include "launch/launcher.h"
#include "launch/logging.h"
#include "launch/ranks.h"
#include "launch/recent_log.h"
#include "launch/scheduler_address.h"
#include "launch/search_setup.h"
#include "launch/trial_runner.h"
#include "launch/worker_flags.h"
#include "net/endpoint.h"
#include "scheduler/codec.h"
#include "scheduler/lease.h"

namespace mixrec::launch {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kLook = std::chrono::milliseconds(300);

net::Time Micros(double seconds) { return static_cast<net::Time>(seconds * net::kSecond); }

// --group, or a name that is the same when Slurm starts this place of a job array again.
absl::StatusOr<std::string> GroupName() {
  std::string name = FLAGS_group;
  const char* const job = std::getenv("SLURM_ARRAY_JOB_ID");
  const char* const task = std::getenv("SLURM_ARRAY_TASK_ID");
  if (name.empty() && job != nullptr && task != nullptr) name = StrCat("slurm-", job, "-", task);
  if (name.empty()) name = StrCat(HostName(), "-", ::getpid());
  if (scheduler::IsGroupName(name)) return name;
  return UsageError("--group=", name, ": expected letters, digits, '.', '_' and '-', at most 100");
}

// Whether the study's journal says that there is nothing left to do.
bool StudyIsOver(const std::string& study) {
  const auto record = scheduler::ReadJournal(study + "/study.journal");
  if (!record.ok()) return false;
  const auto status = scheduler::StatusOf(*record);
  return status && status->phase == scheduler::StudyPhase::kFinished;
}

// Where the scheduler of --study is, waiting for it to come. An empty address: the study is over.
absl::StatusOr<SchedulerAddress> AwaitScheduler() {
  const auto until = Clock::now() + std::chrono::duration<double>(FLAGS_scheduler_deadline);
  while (!StopRequested()) {
    absl::StatusOr<SchedulerAddress> address = ReadSchedulerAddress(FLAGS_study);
    if (address.ok() || !absl::IsNotFound(address.status())) return address;
    if (StudyIsOver(FLAGS_study)) return SchedulerAddress();
    if (Clock::now() > until) {
      return StoppedError("no scheduler has come to ", FLAGS_study, " in ",
                          FLAGS_scheduler_deadline, " s");
    }
    std::this_thread::sleep_for(kLook);
  }
  return StoppedError("stopped before there was a scheduler");
}

// What the group needs to find and reach its scheduler.
struct Way {
  GroupHost::Way host;
  net::ZmqOptions transport;
  bool over = false;  // nobody needs it
};

absl::StatusOr<Way> WayOfFlags() {
  Way way;
  std::string key_file = FLAGS_key_file;
  if (!FLAGS_scheduler.empty()) {
    MIXREC_ASSIGN_OR_RETURN(const std::string endpoint, net::EndpointOf(FLAGS_scheduler));
    way.host.find = [endpoint] { return endpoint; };
  } else if (!FLAGS_study.empty()) {
    MIXREC_ASSIGN_OR_RETURN(const SchedulerAddress address, AwaitScheduler());
    way.over = address.address.empty();
    if (key_file.empty()) key_file = address.key_file;
    way.host.find = [study = FLAGS_study]() -> std::string {
      const auto now = ReadSchedulerAddress(study);
      return now.ok() ? net::EndpointOf(now->address).value_or("") : "";
    };
    way.host.is_over = [study = FLAGS_study] { return StudyIsOver(study); };
  } else {
    return UsageError(
        "--study=DIR or --scheduler=HOST:PORT is missing: where the trials come from");
  }
  if (!key_file.empty()) {
    MIXREC_ASSIGN_OR_RETURN(way.transport.socket.keys, net::ReadCurveKeys(key_file));
  }
  return way;
}

scheduler::GroupOptions GroupOptionsOf(const std::string& name, int ranks) {
  scheduler::GroupOptions options;
  options.group.name = name;
  options.group.incarnation =
      static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(
                                std::chrono::system_clock::now().time_since_epoch())
                                .count());
  options.group.slots = static_cast<int>(FLAGS_slots);
  options.group.ranks = ranks;
  options.group.host = HostName();
  options.group.process = ::getpid();
  options.deadline = Micros(FLAGS_scheduler_deadline);
  options.report = [name](const std::string& text) {
    LOG(INFO) << "group " << name << ": " << text;
  };
  return options;
}

// On a GPU the trials of all slots step together; on a CPU nothing is gained by it.
std::unique_ptr<worker::SideBySide> CompanyOfFlags(const Materials& materials) {
  const at::Device device = materials.backbone.word_embedding.device();
  if (FLAGS_slots < 2 || device.is_cpu()) return nullptr;
  return std::make_unique<worker::SideBySide>(device, FLAGS_slots);
}

// What the study needs, as it is on this rank.
struct Place {
  std::unique_ptr<Materials> materials;
  RunRequest study;
};

absl::StatusOr<Place> LoadPlace(const Invocation& invocation, const StudyBrief& brief) {
  Place place;
  MIXREC_ASSIGN_OR_RETURN(place.materials, LoadMaterials(nullptr));
  MIXREC_RETURN_IF_ERROR(LoadHardSamplesInto(place.materials.get()));
  MIXREC_RETURN_IF_ERROR(LoadBackboneInto(place.materials.get()));
  place.study = StudyRequest(invocation, *place.materials, brief.folder);
  place.study.flags = brief.flags;
  MIXREC_RETURN_IF_ERROR(CheckSameInputs(brief, place.study));
  return place;
}

// Loads what the study needs, then trains what comes.
absl::Status WorkOn(const Invocation& invocation, const StudyBrief& brief, const std::string& name,
                    const RecentLog& log, Ranks* ranks, GroupLink* link) {
  TakeStudyFlags(invocation, brief);
  absl::StatusOr<Place> place = LoadPlace(invocation, brief);
  MIXREC_RETURN_IF_ERROR(ranks->Agree(place.status(), "loading the data"));
  Materials* const materials = place->materials.get();
  collective::Group* group = nullptr;
  if (ranks->size() > 1) {
    MIXREC_ASSIGN_OR_RETURN(group, ranks->GroupOn(materials->compute.device));
  }
  MIXREC_RETURN_IF_ERROR(LoadCatalogueInto(brief.folder, materials, *ranks));
  const std::unique_ptr<worker::SideBySide> company = CompanyOfFlags(*materials);
  auto objective = MakeObjective(*materials, brief.folder, company.get(), group);
  MIXREC_RETURN_IF_ERROR(ranks->Agree(objective.status(), "the study's folder"));
  const Ranks alone;
  const TrialRunner runner(brief, place->study, invocation.table, *std::move(objective),
                           group == nullptr ? &alone : ranks);
  if (link != nullptr) link->SetReady(ConfigHash(place->study), Describe(materials->compute));
  const auto run = [&](const TrialAttempt& attempt, const auto& on_epoch) {
    return runner.Run(attempt, on_epoch);
  };
  if (group != nullptr) return ServeTogether(run, name, *ranks, log, link);
  ServeTrials(run, name, static_cast<int>(FLAGS_slots), log, link);
  return absl::OkStatus();
}

// Of `mixrec bench search`.
absl::Status SleepOn(const std::string& name, const RecentLog& log, GroupLink* link) {
  link->SetReady(kSleepingSettings, "");
  ServeTrials(SleepingTrial(FLAGS_sleep), name, static_cast<int>(FLAGS_slots), log, link);
  return absl::OkStatus();
}

// `text`: the scheduler's description of the study.
absl::Status WorkOnStudy(const Invocation& invocation, const std::string& text,
                         const std::string& name, const RecentLog& log, Ranks* ranks,
                         GroupLink* link) {
  MIXREC_ASSIGN_OR_RETURN(StudyBrief brief, ParseBrief(text));
  if (!FLAGS_study.empty()) brief.folder = FLAGS_study;
  const std::string logs = StrCat(brief.folder, "/groups/", name, "/logs");
  const bool alone = ranks->group() == nullptr;
  const absl::Status logged =
      alone ? LogInto(logs) : LogInto(logs, StrCat("mixrec.rank", ranks->rank()));
  MIXREC_RETURN_IF_ERROR(ranks->Agree(logged, "opening the log"));
  return FLAGS_sleep > 0 ? SleepOn(name, log, link)
                         : WorkOn(invocation, brief, name, log, ranks, link);
}

// The line to the scheduler; null when the study is over.
absl::StatusOr<std::unique_ptr<GroupLink>> OpenLine(const std::string& name, int ranks) {
  MIXREC_ASSIGN_OR_RETURN(Way way, WayOfFlags());
  if (way.over) return nullptr;
  return GroupLink::Start(GroupOptionsOf(name, ranks), std::move(way.host),
                          std::move(way.transport));
}

// The end of a group that could not work: the scheduler hears it, unless a rank is missing. Then a
// trial that is out comes back by its lease.
void SayGoodbye(const absl::Status& failure, const Ranks& ranks, GroupLink* link) {
  if (link == nullptr || (ranks.world() != nullptr && !ranks.world()->failure().ok())) return;
  link->Leave(StatusText(failure));
  link->Join().IgnoreError();
}

absl::Status CheckSlots(const Ranks& ranks) {
  if (ranks.size() < 2 || (FLAGS_slots < 2 && FLAGS_sleep <= 0)) return absl::OkStatus();
  return UsageError(
      FLAGS_sleep > 0 ? StrCat("--sleep=", FLAGS_sleep) : StrCat("--slots=", FLAGS_slots), " with ",
      ranks.size(), " ranks: a group of several trains one trial at a time");
}

absl::Status WorkAmong(const Invocation& invocation, Ranks* ranks) {
  EndWithParent(FLAGS_parent);
  MIXREC_RETURN_IF_ERROR(CheckSlots(*ranks));
  MIXREC_ASSIGN_OR_RETURN(std::string name, GroupName());
  MIXREC_RETURN_IF_ERROR(ranks->Share("the group's name", &name));
  const RecentLog log;
  absl::StatusOr<std::unique_ptr<GroupLink>> link(nullptr);
  if (ranks->leads()) link = OpenLine(name, ranks->size());
  MIXREC_RETURN_IF_ERROR(ranks->Agree(link.status(), "finding the scheduler"));
  GroupLink* const line = link->get();
  std::string text = ranks->leads() && line == nullptr ? kLineHasEnded : "";
  MIXREC_RETURN_IF_ERROR(ranks->Share("whether the study is over", &text));
  if (text.empty()) {
    MIXREC_ASSIGN_OR_RETURN(text, HearStudy(*ranks, line));
  }
  if (text != kLineHasEnded) {
    const absl::Status status = WorkOnStudy(invocation, text, name, log, ranks, line);
    if (!status.ok()) {
      SayGoodbye(status, *ranks, line);
      return status;
    }
  }
  MIXREC_RETURN_IF_ERROR(
      ranks->Agree(line == nullptr ? absl::OkStatus() : line->Join(), "the end of the study"));
  *invocation.out << "group " << name << ": the study is over" << std::endl;
  return absl::OkStatus();
}

}  // namespace

// One process, whoever starts it, needs no MPI.
absl::Status RunWorker(const Invocation& invocation) {
  if (ProcessesOfLauncher() == 1) ForgetLauncher();
  return RunAmongRanks(invocation, WorkAmong);
}

}  // namespace mixrec::launch
