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
#include "launch/group_service.h"
#include "launch/logging.h"
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

scheduler::GroupOptions GroupOptionsOf(const std::string& name) {
  scheduler::GroupOptions options;
  options.group.name = name;
  options.group.incarnation =
      static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(
                                std::chrono::system_clock::now().time_since_epoch())
                                .count());
  options.group.slots = static_cast<int>(FLAGS_slots);
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

// Loads what the study needs, then trains what comes.
absl::Status WorkOn(const Invocation& invocation, const StudyBrief& brief, const std::string& name,
                    const RecentLog& log, GroupLink* link) {
  TakeStudyFlags(invocation, brief);
  MIXREC_ASSIGN_OR_RETURN(const std::unique_ptr<Materials> materials, LoadMaterials(nullptr));
  MIXREC_RETURN_IF_ERROR(LoadHardSamplesInto(materials.get()));
  MIXREC_RETURN_IF_ERROR(LoadBackboneInto(materials.get()));
  RunRequest study = StudyRequest(invocation, *materials, brief.folder);
  study.flags = brief.flags;
  MIXREC_RETURN_IF_ERROR(CheckSameInputs(brief, study));
  MIXREC_RETURN_IF_ERROR(LoadCatalogueInto(brief.folder, materials.get()));
  const std::unique_ptr<worker::SideBySide> company = CompanyOfFlags(*materials);
  MIXREC_ASSIGN_OR_RETURN(worker::SearchObjective objective,
                          MakeObjective(*materials, brief.folder, company.get()));
  const TrialRunner runner(brief, study, invocation.table, std::move(objective));
  link->SetReady(ConfigHash(study), Describe(materials->compute));
  const auto run = [&](const TrialAttempt& attempt, const auto& on_epoch) {
    return runner.Run(attempt, on_epoch);
  };
  ServeTrials(run, name, static_cast<int>(FLAGS_slots), log, link);
  return absl::OkStatus();
}

// Of `mixrec bench search`.
absl::Status SleepOn(const std::string& name, const RecentLog& log, GroupLink* link) {
  link->SetReady(kSleepingSettings, "");
  ServeTrials(SleepingTrial(FLAGS_sleep), name, static_cast<int>(FLAGS_slots), log, link);
  return absl::OkStatus();
}

}  // namespace

absl::Status RunWorker(const Invocation& invocation) {
  EndWithParent(FLAGS_parent);
  MIXREC_ASSIGN_OR_RETURN(const std::string name, GroupName());
  MIXREC_ASSIGN_OR_RETURN(Way way, WayOfFlags());
  if (way.over) {
    *invocation.out << "group " << name << ": the study is over" << std::endl;
    return absl::OkStatus();
  }
  const RecentLog log;
  MIXREC_ASSIGN_OR_RETURN(
      const std::unique_ptr<GroupLink> link,
      GroupLink::Start(GroupOptionsOf(name), std::move(way.host), std::move(way.transport)));
  if (const std::optional<std::string> text = link->WaitForStudy()) {
    absl::StatusOr<StudyBrief> brief = ParseBrief(*text);
    absl::Status status = brief.status();
    if (status.ok() && !FLAGS_study.empty()) brief->folder = FLAGS_study;
    if (status.ok()) status = LogInto(StrCat(brief->folder, "/groups/", name, "/logs"));
    if (status.ok()) {
      status = FLAGS_sleep > 0 ? SleepOn(name, log, link.get())
                               : WorkOn(invocation, *brief, name, log, link.get());
    }
    if (!status.ok()) {
      link->Leave(StatusText(status));
      link->Join().IgnoreError();
      return status;
    }
  }
  MIXREC_RETURN_IF_ERROR(link->Join());
  *invocation.out << "group " << name << ": the study is over" << std::endl;
  return absl::OkStatus();
}

}  // namespace mixrec::launch
