// Private to collective/: see device_group.h.
#pragma once

#include <c10/cuda/CUDAStream.h>

#include <chrono>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "collective/engine.h"
#include "collective/group.h"
#include "collective/nccl.h"

namespace mixrec::collective {

// Operations on GPU tensors run on a stream of their own, after what the caller's stream has done
// so far; Wait holds the caller's stream back, not the caller.
class NcclGroup : public Group {
 public:
  // `host`: the same ranks for tensors in host memory, which are process world_ranks[k] each.
  NcclGroup(Group* host, std::vector<int> world_ranks, Engine* engine,
            std::unique_ptr<NcclCommunicator> communicator, at::Device device);
  ~NcclGroup() override;

  int rank() const override { return host_->rank(); }
  const std::vector<Member>& members() const override { return host_->members(); }
  Ticket StartAllReduce(at::Tensor tensor, const std::string& what) override;
  Ticket StartAllGather(const at::Tensor& mine, at::Tensor all, const std::string& what) override;
  Ticket StartReduceScatter(const at::Tensor& all, at::Tensor mine,
                            const std::string& what) override;
  Ticket StartBroadcast(at::Tensor tensor, int root, const std::string& what) override;
  absl::Status failure() const override;
  void set_patience(double seconds) override { host_->set_patience(seconds); }
  double patience() const override { return host_->patience(); }
  void Abort(const absl::Status& reason) override { host_->Abort(reason); }
  void set_measures_device_waits(bool measures) override { measures_waits_ = measures; }
  double TakeDeviceWaitSeconds() override;

 protected:
  absl::Status DoWait(Ticket ticket) override;

 private:
  using Clock = std::chrono::steady_clock;
  struct Flight {
    int64_t number = 0;  // from 1, the same on every rank
    std::string what;
    double patience_seconds = 0;
    Clock::time_point deadline;
    std::shared_ptr<Event> done;
  };
  struct Held {
    std::shared_ptr<Event> done;
    std::vector<at::Tensor> tensors;
  };

  template <typename Launch>
  Ticket Start(std::vector<at::Tensor> tensors, const std::string& what, Launch launch);
  // Of the engine's thread.
  absl::Status Watch();
  std::string DeadMember() const;  // empty: none
  absl::Status TooLate(const Flight& flight);

  Group* host_;
  const std::vector<int> world_ranks_;
  Engine* engine_;
  std::unique_ptr<NcclCommunicator> communicator_;
  const at::Device device_;
  const c10::cuda::CUDAStream stream_;
  std::map<Ticket, Held> held_;  // by tickets with kDeviceTicket
  std::map<Ticket, absl::Status> failed_;
  bool measures_waits_ = false;
  std::vector<std::pair<std::unique_ptr<Event>, std::unique_ptr<Event>>> waits_;
  std::mutex mutex_;
  std::list<Flight> flights_;  // under mutex_: started, maybe not done
  int64_t started_ = 0;        // under mutex_
  int dead_checks_ = 0;        // of the engine's thread
};

}  // namespace mixrec::collective
