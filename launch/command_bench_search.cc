// What a search by several groups gains, its trials being equal: a real scheduler, real groups, and
// trials that sleep.
#include "launch/command_bench_search.h"

#include <absl/strings/str_format.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "launch/flags.h"
#include "launch/flags_search.h"
#include "launch/group_service.h"
#include "launch/search_service.h"

namespace mixrec::launch {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kLayers = 12;
constexpr double kGraceSeconds = 10;

absl::StatusOr<std::string> TemporaryFolder() {
  std::string folder =
      (std::filesystem::temp_directory_path() / "mixrec-bench-search-XXXXXX").string();
  if (::mkdtemp(folder.data()) == nullptr) return FailureError("cannot make a folder ", folder);
  return folder;
}

ServiceOptions ServiceOf(const RunFolder& run, int groups) {
  ServiceOptions service;
  service.study.layers = kLayers;
  service.study.trials = static_cast<int>(FLAGS_trials);
  service.study.seed = static_cast<uint64_t>(FLAGS_seed);
  service.study.groups = groups;
  service.brief.folder = run.path();
  service.brief.id = run.id();
  service.settings = kSleepingSettings;
  return service;
}

GroupProcessesOptions GroupsOf(const RunFolder& run, int groups) {
  GroupProcessesOptions options;
  options.study = run.path();
  options.groups = groups;
  options.arguments = {absl::StrFormat("--sleep=%g", FLAGS_trial_seconds), "--threads=1",
                       "--device=cpu", StrCat("--slots=", FLAGS_slots)};
  return options;
}

// Seconds from the scheduler's start to the end of the study, the start of the groups included.
absl::StatusOr<double> SearchIn(const std::string& folder, int groups,
                                const Invocation& invocation) {
  RunRequest request;
  request.folder = folder;
  request.verb = "search";
  request.arguments = invocation.arguments;
  MIXREC_ASSIGN_OR_RETURN(RunFolder run, RunFolder::Open(request));
  ServiceOptions service = ServiceOf(run, groups);
  MIXREC_ASSIGN_OR_RETURN(service.study.method, bo_driver::ParseMethod(FLAGS_method));
  MIXREC_ASSIGN_OR_RETURN(service.listen, EndpointToListen("127.0.0.1:0"));
  GroupProcesses processes(GroupsOf(run, groups));
  service.groups = &processes;
  Invocation quiet = invocation;
  std::ostringstream unread;
  quiet.out = &unread;
  scheduler::StudyRecord study;
  const Clock::time_point start = Clock::now();
  const absl::Status status = ServeStudy(service, quiet, &run, &study);
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  if (!status.ok()) processes.AskToStop();
  processes.End(kGraceSeconds);
  MIXREC_RETURN_IF_ERROR(run.Close(status));
  return seconds;
}

absl::StatusOr<double> Measure(int groups, const Invocation& invocation) {
  MIXREC_ASSIGN_OR_RETURN(const std::string folder, TemporaryFolder());
  const absl::StatusOr<double> seconds = SearchIn(folder, groups, invocation);
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);
  MIXREC_RETURN_IF_ERROR(seconds.status());
  *invocation.out << nlohmann::json({{"groups", groups},
                                     {"trials", FLAGS_trials},
                                     {"trial_seconds", FLAGS_trial_seconds},
                                     {"seconds", *seconds}})
                         .dump()
                  << std::endl;
  return seconds;
}

}  // namespace

absl::Status RunBenchSearch(const Invocation& invocation) {
  MIXREC_ASSIGN_OR_RETURN(const double one, Measure(1, invocation));
  MIXREC_ASSIGN_OR_RETURN(const double many, Measure(static_cast<int>(FLAGS_groups), invocation));
  *invocation.out << nlohmann::json({{"groups", FLAGS_groups}, {"speedup", one / many}}).dump()
                  << std::endl;
  return absl::OkStatus();
}

}  // namespace mixrec::launch
