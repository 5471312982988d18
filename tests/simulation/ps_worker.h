// A rank of the simulated training job: pulls, checks what it got against what may be there,
// pushes.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "net/actor.h"
#include "ps/client.h"
#include "tests/simulation/ps_world.h"

namespace mixrec::ps {

// What the ranks know of each other, outside the network: the launcher's and the checkpoint's part.
struct Job {
  explicit Job(const WorldOptions& options);

  // The rows that a rank pushes at a step: a function of seed, rank and step.
  const std::vector<int32_t>& RowsOf(int rank, int64_t step) const;
  // How many of a rank's steps before `step` name `row`.
  int64_t Count(int rank, int64_t step, int64_t row) const;

  const WorldOptions& options;
  int attempt = 0;
  int64_t first_step = 0;                      // of this attempt
  std::string snapshot;                        // folder; empty: none yet
  std::vector<int64_t> started, acknowledged;  // steps pushed, by rank
  std::vector<int> barrier;                    // how many barriers each rank has reached
  bool failed = false;                         // a call failed: the launcher starts the job again
  std::string failure;
  std::string violation;
  std::string folder;  // for snapshots
  int ranks_done = 0;
  uint64_t parameters = 0;

 private:
  std::vector<std::vector<std::vector<int32_t>>> rows_;    // by rank and step
  std::vector<std::vector<std::vector<int32_t>>> counts_;  // by rank, step and row
};

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
  void CheckRows(int64_t step, const std::vector<int32_t>& ids, const at::Tensor& rows,
                 int64_t own_acknowledged);
  void CheckFinal(const at::Tensor& counts, const at::Tensor& values, const at::Tensor& items);

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

TableSpec CountTable(const WorldOptions& options);
TableSpec AdamTable(const WorldOptions& options);
TableSpec SoftmaxTable(const WorldOptions& options);

}  // namespace mixrec::ps
