// A rank of the simulated training job: pulls, checks what it got against what may be there,
// pushes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "net/actor.h"
#include "ps/client.h"
#include "tests/simulation/ps_job.h"

namespace mixrec::ps {

class SimulatedWorker : public net::Actor {
 public:
  SimulatedWorker(const ClientOptions& options, int rank, Job* job);

  void Start(net::Outbox* out) override;
  void Receive(const net::Peer& from, const net::Message& message, net::Outbox* out) override;
  void Tick(net::Outbox* out) override;

 private:
  enum class Phase { kConnect, kClear, kOpen, kRestore, kStep, kSave, kDrain, kCheck, kDone };

  void Advance(net::Outbox* out);
  void Enter(Phase phase) { phase_ = phase, waiting_ = false; }
  // Whether all ranks have come to the next barrier; counts this rank in on the first call.
  bool Barrier();
  Client::Done Then(std::function<void()> next);
  void Fail(const absl::Status& status);

  void Clear();
  void Open();
  void Restore();
  void Step(net::Outbox* out);
  void PullStep();
  void SoftmaxStep();
  void PushStep();
  void Save();
  void Check();

  Client client_;
  int rank_;
  Job* job_;
  int attempt_;
  Phase phase_ = Phase::kConnect;
  bool waiting_ = false;  // for an answer
  bool at_barrier_ = false;
  int64_t step_ = 0;
  bool pulled_ = false;
  int pushes_ = 0;  // under way
  at::Tensor states_, log_sum_exp_;
  std::vector<int32_t> labels_;
  net::Time think_until_ = 0;
};

}  // namespace mixrec::ps
