#include "launch/group_processes.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <thread>
#include <utility>

#include "common/file.h"
#include "common/log.h"
#include "launch/mpirun.h"

namespace mixrec::launch {
namespace {

constexpr net::Time kSoon = 10 * net::kSecond;  // a death so soon after the start is a failure
constexpr net::Time kFirstPause = 250 * net::kMillisecond, kLongestPause = 30 * net::kSecond;
constexpr auto kPoll = std::chrono::milliseconds(20);
constexpr double kLauncherEnds = 5;  // seconds

net::Time Pause(int failures) {
  if (failures == 0) return 0;
  return std::min(kFirstPause << std::min(failures - 1, 10), kLongestPause);
}

bool IsHopeless(const absl::Status& outcome) {
  const ExitCode code = ExitCodeOf(outcome);
  return code == kExitUsage || code == kExitData || code == kExitMemory;
}

// The GPUs of a group, one for each rank, taken in turn; fewer where there are not so many.
std::string DevicesOf(const GroupProcessesOptions& options, size_t index) {
  const size_t ranks = std::min(static_cast<size_t>(options.ranks), options.devices.size());
  std::string text;
  for (size_t rank = 0; rank < ranks; ++rank) {
    const size_t device = (index * ranks + rank) % options.devices.size();
    text += StrCat(rank == 0 ? "" : ",", options.devices[device]);
  }
  return text;
}

}  // namespace

GroupProcesses::GroupProcesses(GroupProcessesOptions options)
    : options_(std::move(options)), places_(static_cast<size_t>(options_.groups)) {}

std::string GroupProcesses::NameOf(size_t index) const { return StrCat("g", index + 1); }

absl::Status GroupProcesses::Maintain(net::Time now) {
  for (size_t index = 0; index < places_.size(); ++index) {
    Place& place = places_[index];
    absl::Status outcome;
    if (place.process != nullptr && place.process->HasEnded(&outcome)) {
      place.process.reset();
      place.done = outcome.ok();
      if (!outcome.ok() && !stopping_) {
        LOG(WARNING) << "group " << NameOf(index) << ": " << outcome.message();
        if (IsHopeless(outcome)) return outcome;
      }
      place.failures = now - place.next_start < kSoon ? place.failures + 1 : 0;
      place.next_start = now + Pause(place.failures);
    }
    const bool missing = place.process == nullptr && !place.done && !stopping_;
    if (missing && now >= place.next_start) MIXREC_RETURN_IF_ERROR(Start(index, now));
  }
  return absl::OkStatus();
}

absl::Status GroupProcesses::Start(size_t index, net::Time now) {
  const std::string folder = StrCat(options_.study, "/groups/", NameOf(index));
  MIXREC_RETURN_IF_ERROR(MakeFolder(folder));
  ChildCommand command;
  command.words = {"worker", StrCat("--study=", options_.study), StrCat("--group=", NameOf(index))};
  command.words.insert(command.words.end(), options_.arguments.begin(), options_.arguments.end());
  if (options_.ranks > 1) {
    command.launcher = MpirunOf(options_.ranks);
    command.stop_signal = kStopOfRanks;
  } else {
    command.words.push_back(StrCat("--parent=", ::getpid()));
  }
  command.log = folder + "/output";
  if (!options_.devices.empty()) {
    command.visible_devices = DevicesOf(options_, index);
  }
  MIXREC_ASSIGN_OR_RETURN(places_[index].process, ChildProcess::Start(command));
  places_[index].next_start = now;
  return absl::OkStatus();
}

void GroupProcesses::AskToStop() {
  if (stopping_) return;
  stopping_ = true;
  for (const Place& place : places_) {
    if (place.process != nullptr) place.process->AskToStop();
  }
}

bool GroupProcesses::AwaitEnds(double seconds) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  for (Place& place : places_) {
    absl::Status ignored;
    while (place.process != nullptr && !place.process->HasEnded(&ignored)) {
      if (std::chrono::steady_clock::now() > until) return false;
      std::this_thread::sleep_for(kPoll);
    }
    place.process.reset();
  }
  return true;
}

void GroupProcesses::End(double grace_seconds) {
  if (!AwaitEnds(grace_seconds) && options_.ranks > 1) {
    // An mpirun that is told to end kills its ranks; one that is killed leaves them to notice.
    for (const Place& place : places_) {
      if (place.process != nullptr) place.process->Signal(SIGTERM);
    }
    AwaitEnds(kLauncherEnds);
  }
  for (Place& place : places_) place.process.reset();
}

}  // namespace mixrec::launch
