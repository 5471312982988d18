// What a rank takes of its host: threads and a GPU.
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <thread>

#include "collective/device_group.h"
#include "common/log.h"
#include "launch/build_info.h"
#include "launch/flags.h"
#include "launch/options.h"
#include "launch/ranks.h"

namespace mixrec::launch {
namespace {

using collective::Member;

std::string VisibleGpus() {
  const char* value = std::getenv("CUDA_VISIBLE_DEVICES");
  return value == nullptr ? "" : value;
}

int ThreadsOf(int processes) {
  cpu_set_t set;
  CPU_ZERO(&set);
  const int all = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  const int mine = ::sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : all;
  return mine < ::sysconf(_SC_NPROCESSORS_ONLN) ? mine : std::max(1, mine / processes);
}

}  // namespace

int Ranks::neighbours() const {
  if (world_ == nullptr) return 1;
  const std::vector<Member>& members = world_->world()->members();
  return static_cast<int>(std::count_if(members.begin(), members.end(), [&](const Member& member) {
    return member.host == world_->world()->self().host;
  }));
}

// Threads: the cores that the launcher bound this process to, or its part of all. A GPU: that of
// its number among the ranks here, before CUDA starts. Servers spread over all of them themselves.
void Ranks::TakePartOfHost(const Invocation& invocation) const {
  if (FLAGS_threads == 0) SetFlags({{"threads", StrCat(ThreadsOf(neighbours()))}});
  if (invocation.verb->name == "ps") return;
  std::vector<std::string> gpus = SplitList(VisibleGpus());
  const auto number = static_cast<size_t>(local_rank());
  if (gpus.size() == 1) return;  // the launcher has chosen
  const std::string mine = gpus.empty()           ? StrCat(number)
                           : number < gpus.size() ? gpus[number]
                                                  : "-1";
  ::setenv("CUDA_VISIBLE_DEVICES", mine.c_str(), 1);
}

absl::Status Ranks::TellPlaces(const Invocation& invocation) const {
  const bool gpu = FLAGS_device != "cpu" && ThisBuild().cuda && at::hasCUDA();
  MIXREC_ASSIGN_OR_RETURN(
      const std::vector<std::string> gpus,
      collective::GatherTexts(group(), gpu ? VisibleGpus() : "", "the map of ranks"));
  if (!leads()) return absl::OkStatus();
  std::map<std::string, std::string> hosts;
  for (const Member& member : group()->members()) {
    const std::string& mine = gpus[static_cast<size_t>(member.rank)];
    std::string& text = hosts[member.host];
    text += StrCat(text.empty() ? "" : ", ", member.rank);
    if (!mine.empty()) text += StrCat(" (GPU ", mine, ")");
  }
  for (const auto& [host, text] : hosts) {
    LOG(INFO) << "ranks of " << invocation.verb->name << " on " << host << ": " << text;
  }
  return absl::OkStatus();
}

absl::StatusOr<collective::Group*> Ranks::GroupOn(at::Device device) {
  if (group() == nullptr) return nullptr;
  const std::string mine = device.is_cuda() ? "a GPU" : "the CPU";
  MIXREC_ASSIGN_OR_RETURN(const std::vector<std::string> all,
                          collective::GatherTexts(group(), mine, "the choice of devices"));
  for (size_t rank = 0; rank < all.size(); ++rank) {
    if (all[rank] == all[0]) continue;
    return collective::Agree(
        group(),
        UsageError(collective::Describe(group()->members()[rank]), " computes on ", all[rank],
                   " and ", collective::Describe(group()->members()[0]), " on ", all[0],
                   "; start as many ranks a host as it has GPUs, or give --device=cpu"),
        "the choice of devices");
  }
  if (!device.is_cuda()) return group();
  MIXREC_ASSIGN_OR_RETURN(device_group_, collective::MakeDeviceGroup(world_.get(), device));
  return device_group_.get();
}

}  // namespace mixrec::launch
