#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <thread>

#include "common/file.h"
#include "launch/commands.h"
#include "launch/flags.h"
#include "launch/flags_ps.h"
#include "launch/flags_ranks.h"
#include "launch/flags_search.h"
#include "launch/flags_status.h"
#include "launch/flags_table.h"
#include "launch/live_page.h"
#include "launch/materials.h"
#include "launch/mpirun.h"
#include "launch/plan.h"
#include "launch/search_loop.h"
#include "launch/search_outcome.h"
#include "launch/search_service.h"
#include "launch/search_setup.h"
#include "launch/search_shards.h"
#include "launch/trial_runner.h"

namespace mixrec::launch {
namespace {

constexpr double kGraceSeconds = 30;  // for groups to see that the study is over
constexpr double kNothingToSave = 1;  // for those whose tables are gone

// One trial after another, in this process.
absl::Status SearchAlone(const Invocation& invocation, const Materials& materials,
                         const RunRequest& request, RunFolder* run) {
  MIXREC_ASSIGN_OR_RETURN(worker::SearchObjective objective,
                          MakeObjective(materials, run->path(), nullptr, nullptr));
  MIXREC_ASSIGN_OR_RETURN(const bo_driver::StudyOptions options, StudyOptionsOfFlags(materials));
  MIXREC_ASSIGN_OR_RETURN(bo_driver::Study study,
                          bo_driver::Study::OpenOrCreate(run->path(), options));
  *invocation.out << "searching on " << Describe(materials.compute) << ": "
                  << objective.users().size() << " users a trial, " << study.finished() << " of "
                  << FLAGS_trials << " trials finished" << std::endl;
  std::unique_ptr<LivePage> page;
  if (!FLAGS_http.empty()) {
    MIXREC_ASSIGN_OR_RETURN(page, LivePage::Start(FLAGS_http, FolderSource(run->path())));
    *invocation.out << "page: http://" << page->address() << "/" << std::endl;
  }
  const Ranks alone;
  const TrialRunner runner(BriefOf(request, *run), request, invocation.table, std::move(objective),
                           &alone);
  const auto evaluate = [&](const bo_driver::Trial& trial) -> absl::StatusOr<double> {
    absl::Status reported;
    const auto on_epoch = [&](int epoch, double mrr) {
      if (!std::isfinite(mrr)) return true;
      const absl::StatusOr<bool> goes_on = study.ReportIntermediate(trial.number, epoch, mrr);
      reported = goes_on.status();
      return goes_on.ok() && *goes_on;
    };
    TrialAttempt attempt;
    attempt.number = trial.number;
    attempt.attempt = trial.attempt;
    attempt.work = trial.work;
    const auto outcome = runner.Run(attempt, on_epoch);
    MIXREC_RETURN_IF_ERROR(outcome.status());
    MIXREC_RETURN_IF_ERROR(reported);
    return outcome->value;
  };
  const absl::Status status = RunTrials(&study, evaluate, *invocation.out);
  return EndSearch(invocation, status, study.record(), run);
}

absl::StatusOr<GroupProcessesOptions> GroupsOfFlags(const std::string& study) {
  GroupProcessesOptions options;
  options.study = study;
  options.groups = static_cast<int>(FLAGS_groups);
  options.ranks = static_cast<int>(FLAGS_group_ranks);
  MIXREC_ASSIGN_OR_RETURN(options.devices, DevicesOfFlags());
  const int64_t cores = std::max(1u, std::thread::hardware_concurrency());
  const int64_t threads = FLAGS_threads > 0 ? FLAGS_threads : cores;
  const int64_t share = std::max<int64_t>(1, threads / (FLAGS_groups * FLAGS_group_ranks));
  options.arguments = {StrCat("--threads=", share), StrCat("--slots=", FLAGS_per_gpu),
                       StrCat("--device=", FLAGS_device), StrCat("--log_level=", FLAGS_log_level),
                       StrCat("--rank_deadline=", FLAGS_rank_deadline)};
  return options;
}

// The scheduler in this process, the groups in others.
absl::Status SearchWithGroups(const Invocation& invocation, const Materials& materials,
                              const RunRequest& request, RunFolder* run, SearchShards* shards) {
  ServiceOptions service;
  service.shards = shards;
  MIXREC_RETURN_IF_ERROR(MakeFolder(run->File("trials")));
  MIXREC_ASSIGN_OR_RETURN(service.study, StudyOptionsOfFlags(materials));
  service.brief = BriefOf(request, *run);
  service.settings = ConfigHash(request);
  MIXREC_ASSIGN_OR_RETURN(service.listen, EndpointToListen("127.0.0.1:0"));
  MIXREC_ASSIGN_OR_RETURN(GroupProcessesOptions options, GroupsOfFlags(service.brief.folder));
  GroupProcesses groups(std::move(options));
  service.groups = &groups;
  *invocation.out << "searching with " << FLAGS_groups
                  << (FLAGS_groups == 1 ? " group of " : " groups of ") << FLAGS_group_ranks
                  << (FLAGS_group_ranks == 1 ? " rank" : " ranks") << " and " << FLAGS_per_gpu
                  << (FLAGS_per_gpu == 1 ? " trial" : " trials")
                  << " at a time; what they print is in " << run->File("groups") << std::endl;
  scheduler::StudyRecord study;
  const absl::Status status = ServeStudy(service, invocation, run, &study);
  if (!status.ok()) groups.AskToStop();
  groups.End(shards != nullptr && shards->have_ended() ? kNothingToSave : kGraceSeconds);
  return EndSearch(invocation, status, study, run);
}

// Its own shards, if it has some; their address is --ps from now on.
absl::StatusOr<std::unique_ptr<SearchShards>> StartShards(const RunFolder& run) {
  if (FLAGS_shards == 0) return nullptr;
  MIXREC_ASSIGN_OR_RETURN(std::unique_ptr<SearchShards> shards,
                          SearchShards::Start(static_cast<int>(FLAGS_shards), run.path()));
  SetFlags({{"ps", shards->address()}});
  return shards;
}

absl::Status SearchIn(const Invocation& invocation, const Materials& materials, RunFolder* run) {
  MIXREC_ASSIGN_OR_RETURN(const std::unique_ptr<SearchShards> shards, StartShards(*run));
  RunRequest request = StudyRequest(invocation, materials, FLAGS_out);
  request.flags["ps"] = FLAGS_ps;
  // Trials that lose a server are to be tried again, which is the scheduler's business.
  const bool served = !FLAGS_ps.empty();
  const bool grouped = served || FLAGS_groups > 1 || FLAGS_group_ranks > 1 || FLAGS_per_gpu > 1;
  return grouped ? SearchWithGroups(invocation, materials, request, run, shards.get())
                 : SearchAlone(invocation, materials, request, run);
}

absl::Status CheckFlags() {
  if (FLAGS_resume != "auto" && FLAGS_resume != "none") {
    return UsageError("--resume=", FLAGS_resume, ": a search takes auto or none");
  }
  if (FLAGS_shards > 0 && !FLAGS_ps.empty()) {
    return UsageError("--shards=", FLAGS_shards,
                      " starts servers of the search's own, --ps=", FLAGS_ps,
                      " names others; give one of the two");
  }
  if (FLAGS_group_ranks < 2) return absl::OkStatus();
  const std::string ranks = StrCat("--group_ranks=", FLAGS_group_ranks);
  if (FLAGS_per_gpu > 1) {
    return UsageError("--per_gpu=", FLAGS_per_gpu, " with ", ranks,
                      ": a group of several ranks trains one trial at a time; give one of the two");
  }
  return CheckMpirun(ranks);
}

absl::Status PrintSearchPlan(const Invocation& invocation, Materials* materials) {
  MIXREC_RETURN_IF_ERROR(LoadCatalogueInto("", materials));
  const double users = static_cast<double>(data::TrainableUsers(materials->dataset).size());
  PrintPlan(invocation, *materials, FLAGS_trial_epochs,
            std::max<int64_t>(1, std::llround(users * FLAGS_bo_fraction)));
  *invocation.out << "trials: " << FLAGS_trials << std::endl;
  return absl::OkStatus();
}

}  // namespace

absl::Status RunSearch(const Invocation& invocation) {
  MIXREC_RETURN_IF_ERROR(CheckFlags());
  MIXREC_ASSIGN_OR_RETURN(const std::unique_ptr<Materials> materials,
                          LoadMaterials(invocation.out));
  if (FLAGS_dry_run) return PrintSearchPlan(invocation, materials.get());
  MIXREC_RETURN_IF_ERROR(RequireFlag("out", FLAGS_out));
  MIXREC_RETURN_IF_ERROR(LoadHardSamplesInto(materials.get()));
  MIXREC_RETURN_IF_ERROR(LoadBackboneInto(materials.get()));
  MIXREC_ASSIGN_OR_RETURN(RunFolder run, OpenRun(invocation, *materials, Ranks()));
  MIXREC_RETURN_IF_ERROR(LoadCatalogueInto(run.path(), materials.get()));
  return run.Close(SearchIn(invocation, *materials, &run));
}

}  // namespace mixrec::launch
