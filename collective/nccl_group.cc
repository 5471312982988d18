#include "collective/nccl_group.h"

#include <cstring>
#include <optional>

#include "collective/device_group.h"
#include "collective/host_group.h"
#include "common/log.h"

namespace mixrec::collective {
namespace {

constexpr Group::Ticket kDeviceTicket = Group::Ticket{1} << 62;
constexpr double kAskSeconds = 2;
constexpr int kDeadChecks = 5;

absl::Status CheckEachItsOwn(Group* group, at::Device device) {
  MIXREC_ASSIGN_OR_RETURN(const std::string mine, GpuIdentity(device));
  MIXREC_ASSIGN_OR_RETURN(const std::vector<std::string> gpus,
                          GatherTexts(group, mine, "the choice of GPUs"));
  for (int rank = 0; rank < group->size(); ++rank) {
    for (int other = 0; other < rank; ++other) {
      const Member& a = group->members()[static_cast<size_t>(other)];
      const Member& b = group->members()[static_cast<size_t>(rank)];
      if (a.host != b.host || gpus[static_cast<size_t>(other)] != gpus[static_cast<size_t>(rank)]) {
        continue;
      }
      return UsageError("two ranks on one GPU: ", Describe(a), " and ", Describe(b), " have ",
                        gpus[static_cast<size_t>(rank)], "; start fewer, or take --device=cpu");
    }
  }
  return absl::OkStatus();
}

}  // namespace

NcclGroup::NcclGroup(Group* host, std::vector<int> world_ranks, Engine* engine,
                     std::unique_ptr<NcclCommunicator> communicator, at::Device device)
    : host_(host),
      world_ranks_(std::move(world_ranks)),
      engine_(engine),
      communicator_(std::move(communicator)),
      device_(device),
      stream_(c10::cuda::getStreamFromPool(/*isHighPriority=*/true, device.index())) {
  engine_->set_progress([this] {
    const std::lock_guard<std::mutex> lock(mutex_);
    return started_;
  });
  engine_->set_on_failure([this] { communicator_->Abort(); });
  engine_->set_watch([this] { return Watch(); });
}

NcclGroup::~NcclGroup() {
  engine_->set_watch(nullptr);
  engine_->set_on_failure(nullptr);
  engine_->set_progress(nullptr);
}

template <typename Launch>
Group::Ticket NcclGroup::Start(std::vector<at::Tensor> tensors, const std::string& what,
                               Launch launch) {
  auto done = std::make_shared<Event>();
  Ticket ticket = 0;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ticket = kDeviceTicket + static_cast<Ticket>(++started_);
    const auto time =
        std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(patience()));
    flights_.push_back({started_, what, patience(), Clock::now() + time, nullptr});
  }
  Event ready;
  ready.Record(c10::cuda::getCurrentCUDAStream(device_.index()).stream());
  ready.HoldBack(stream_.stream());
  absl::Status status = engine_->failure();
  if (status.ok()) {
    status = communicator_->Start(
        [&](ncclComm_t communicator) { return launch(communicator, stream_.stream()); });
  }
  if (status.ok()) status = communicator_->WaitUntilTaken(patience());
  done->Record(stream_.stream());
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    flights_.back().done = done;
  }
  if (!status.ok()) failed_[ticket] = status;
  held_[ticket] = {std::move(done), std::move(tensors)};
  return ticket;
}

Group::Ticket NcclGroup::StartAllReduce(at::Tensor tensor, const std::string& what) {
  if (tensor.is_cpu()) return host_->StartAllReduce(std::move(tensor), what);
  return Start({tensor}, what, [&](ncclComm_t communicator, cudaStream_t stream) {
    return ncclAllReduce(tensor.data_ptr(), tensor.data_ptr(), static_cast<size_t>(tensor.numel()),
                         NcclType(tensor.scalar_type()), ncclSum, communicator, stream);
  });
}

Group::Ticket NcclGroup::StartAllGather(const at::Tensor& mine, at::Tensor all,
                                        const std::string& what) {
  if (mine.is_cpu()) return host_->StartAllGather(mine, std::move(all), what);
  CHECK(mine.is_contiguous() && all.is_contiguous() && all.numel() == mine.numel() * size());
  return Start({mine, all}, what, [&](ncclComm_t communicator, cudaStream_t stream) {
    return ncclAllGather(mine.data_ptr(), all.data_ptr(), mine.nbytes(), ncclUint8, communicator,
                         stream);
  });
}

Group::Ticket NcclGroup::StartReduceScatter(const at::Tensor& all, at::Tensor mine,
                                            const std::string& what) {
  if (mine.is_cpu()) return host_->StartReduceScatter(all, std::move(mine), what);
  CHECK(mine.is_contiguous() && all.is_contiguous() && all.numel() == mine.numel() * size());
  return Start({all, mine}, what, [&](ncclComm_t communicator, cudaStream_t stream) {
    return ncclReduceScatter(all.data_ptr(), mine.data_ptr(), static_cast<size_t>(mine.numel()),
                             NcclType(mine.scalar_type()), ncclSum, communicator, stream);
  });
}

Group::Ticket NcclGroup::StartBroadcast(at::Tensor tensor, int root, const std::string& what) {
  if (tensor.is_cpu()) return host_->StartBroadcast(std::move(tensor), root, what);
  return Start({tensor}, what, [&](ncclComm_t communicator, cudaStream_t stream) {
    return ncclBroadcast(tensor.data_ptr(), tensor.data_ptr(), tensor.nbytes(), ncclUint8, root,
                         communicator, stream);
  });
}

absl::Status NcclGroup::DoWait(Ticket ticket) {
  if (ticket < kDeviceTicket) return host_->Wait(ticket);
  const auto held = held_.find(ticket);
  CHECK(held != held_.end());
  const cudaStream_t current = c10::cuda::getCurrentCUDAStream(device_.index()).stream();
  std::unique_ptr<Event> before, after;
  if (measures_waits_) {
    before = std::make_unique<Event>(/*timed=*/true);
    before->Record(current);
  }
  held->second.done->HoldBack(current);
  if (measures_waits_) {
    after = std::make_unique<Event>(/*timed=*/true);
    after->Record(current);
    waits_.emplace_back(std::move(before), std::move(after));
  }
  held_.erase(held);
  const auto failed = failed_.find(ticket);
  absl::Status status = engine_->failure();
  if (status.ok() && failed != failed_.end()) status = failed->second;
  if (failed != failed_.end()) failed_.erase(failed);
  return status;
}

absl::Status NcclGroup::failure() const {
  MIXREC_RETURN_IF_ERROR(host_->failure());
  return communicator_->IsBusy().status();
}

double NcclGroup::TakeDeviceWaitSeconds() {
  double seconds = 0;
  for (const auto& [before, after] : waits_) seconds += after->SecondsSince(*before);
  waits_.clear();
  return seconds;
}

absl::Status NcclGroup::Watch() {
  cudaSetDevice(device_.index());
  std::optional<Flight> oldest;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    while (!flights_.empty() && flights_.front().done != nullptr &&
           flights_.front().done->HasHappened()) {
      flights_.pop_front();
    }
    if (!flights_.empty()) oldest = flights_.front();
  }
  const absl::Status state = communicator_->IsBusy().status();
  const std::string dead = oldest || !state.ok() ? DeadMember() : "";
  dead_checks_ = dead.empty() ? 0 : dead_checks_ + 1;
  // NCCL sees that a connection has gone, and not whose.
  if (!dead.empty() && (!state.ok() || dead_checks_ >= kDeadChecks)) {
    return FailureError(dead, " has died; ", oldest ? oldest->what : "the run", " cannot go on");
  }
  MIXREC_RETURN_IF_ERROR(state);
  return oldest && Clock::now() > oldest->deadline ? TooLate(*oldest) : absl::OkStatus();
}

std::string NcclGroup::DeadMember() const {
  for (int rank = 0; rank < size(); ++rank) {
    if (engine_->IsAlive(world_ranks_[static_cast<size_t>(rank)])) continue;
    return Describe(members()[static_cast<size_t>(rank)]);
  }
  return "";
}

// Who has not started it, or does not even say.
absl::Status NcclGroup::TooLate(const Flight& flight) {
  const std::vector<int64_t> progress = engine_->AskProgress(kAskSeconds);
  std::string names;
  for (int other = 0; other < size(); ++other) {
    if (other == rank()) continue;
    const int64_t started = progress[static_cast<size_t>(world_ranks_[static_cast<size_t>(other)])];
    if (started >= flight.number) continue;
    names += StrCat(names.empty() ? "" : ", ", Describe(members()[static_cast<size_t>(other)]),
                    started < 0 ? " (which does not answer)" : "");
  }
  if (names.empty())
    return FailureError(flight.what, " did not end in ", flight.patience_seconds, " s");
  return FailureError(names, " did not come to ", flight.what, " in ", flight.patience_seconds,
                      " s");
}

absl::StatusOr<std::unique_ptr<Group>> MakeDeviceGroup(MpiWorld* world, at::Device device) {
  Group* const host = world->group();
  MIXREC_RETURN_IF_ERROR(CheckEachItsOwn(host, device));
  at::Tensor bytes = at::zeros({static_cast<int64_t>(sizeof(ncclUniqueId))}, at::kByte);
  ncclUniqueId id;
  if (host->rank() == 0) {
    MIXREC_RETURN_IF_ERROR(StatusOf(ncclGetUniqueId(&id), "NCCL"));
    std::memcpy(bytes.data_ptr(), &id, sizeof(id));
  }
  MIXREC_RETURN_IF_ERROR(host->Broadcast(bytes, 0, "NCCL's id"));
  std::memcpy(&id, bytes.data_ptr(), sizeof(id));
  auto communicator =
      NcclCommunicator::Create(id, host->rank(), host->size(), device, host->patience());
  MIXREC_RETURN_IF_ERROR(Agree(host, communicator.status(), "the connection of the GPUs"));
  return std::make_unique<NcclGroup>(host, world->group_world_ranks(), world->engine(),
                                     *std::move(communicator), device);
}

}  // namespace mixrec::collective
