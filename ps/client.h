// A worker's side of every verb: rows go to the shards that hold them, in pieces that fit a
// message, and come back as one result. A net::Actor; ps::Session runs it on a thread, the
// simulation without.
//
// R rows, E row width, N states, D hidden width.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/status.h"
#include "net/actor.h"
#include "net/buffer_pool.h"
#include "ps/caller.h"
#include "ps/protocol.h"
#include "ps/session.h"

namespace mixrec::ps {

struct StateBlock;  // ps/client_states.h

struct ClientOptions {
  CallerOptions caller;
  OpenSession session;                 // what Open says to every shard
  int64_t message_bytes = 512 * 1024;  // rows of one message
};

// One thread. Every call queues messages, which leave with the next Receive or Tick (or Flush), and
// ends in one call of `done`, which may call again. Tensors are CPU fp32, contiguous, and must not
// change until `done`.
class Client : public net::Actor {
 public:
  explicit Client(const ClientOptions& options);

  void Start(net::Outbox* out) override;
  void Receive(const net::Peer& from, const net::Message& message, net::Outbox* out) override;
  void Tick(net::Outbox* out) override;

  using Done = std::function<void(absl::Status)>;
  using DoneRows = std::function<void(absl::StatusOr<at::Tensor>)>;
  using DoneSoftmax = std::function<void(absl::StatusOr<SoftmaxResult>)>;
  using DoneRanks = std::function<void(absl::StatusOr<std::vector<int64_t>>)>;
  using DoneTopK = std::function<void(absl::StatusOr<TopKResult>)>;
  using DoneSaved = std::function<void(absl::StatusOr<std::vector<Saved>>)>;
  using DoneText = std::function<void(absl::StatusOr<std::string>)>;

  // Whether the map is there; nothing else may be called before.
  bool connected() const { return caller_.shards() > 0; }
  // Calls it as soon as that is so.
  void WhenConnected(std::function<void()> call);
  int shards() const { return caller_.shards(); }
  const ShardMap& map() const { return caller_.map(); }
  size_t outstanding() const { return caller_.outstanding(); }

  void Open(Done done);
  void CreateTable(const TableSpec& spec, Done done);
  // `table` must have been created through this client.
  void Pull(const std::string& table, int64_t step, std::vector<int32_t> ids, DoneRows done,
            bool settled = false);  // with all steps before `step` of every rank, in every mode
  void Push(const std::string& table, int64_t step, double learning_rate, std::vector<int32_t> ids,
            at::Tensor gradients, Done done);
  void Softmax(const std::string& table, int64_t step, at::Tensor states,
               std::vector<int32_t> labels, const Sampling& sampling, DoneSoftmax done);
  void SoftmaxBackward(const std::string& table, int64_t step, double learning_rate,
                       at::Tensor states, std::vector<int32_t> labels, const Sampling& sampling,
                       at::Tensor log_sum_exp, at::Tensor weights, Done done);
  void Rank(const std::string& table, int64_t step, const RankRequest& request, DoneRanks done);
  void TopK(const std::string& table, int64_t step, const TopKRequest& request, DoneTopK done);
  void Save(const std::string& folder, int64_t step, DoneSaved done);
  void Restore(const std::string& folder, int64_t step, Done done);
  void Drop(const std::string& space, Done done);
  // A JSON array with one object a shard.
  void Stats(DoneText done);

 private:
  // What a shard gets of a list of rows.
  struct Share {
    std::vector<int32_t> ids;
    std::vector<int64_t> positions;  // in the caller's list
  };

  int64_t FirstStep(int64_t step);
  const TableSpec& SpecOf(const std::string& table) const;
  TableKey KeyOf(const std::string& table) const { return {options_.session.space, table}; }
  std::vector<Share> Split(const TableSpec& spec, const std::vector<int32_t>& ids) const;
  void PullWhole(int slot, const ps::Pull& pull, const std::vector<int64_t>& sizes,
                 const std::string& what, DoneRows done);
  void RankBlock(const ps::Rank& message, const StateBlock& block,
                 std::shared_ptr<std::vector<int64_t>> ranks, Done done);
  void Broadcast(const Body& body, const std::string& what, Done done);
  void RenewLease(net::Outbox* out);

  ClientOptions options_;
  Caller caller_;
  net::BufferPool results_;  // memory of pulled rows
  std::map<std::string, TableSpec> tables_;
  // The step that this process began with: what a restored table has at least. -1: none yet.
  int64_t first_step_ = -1;
  net::Time renew_at_ = 0;
  std::function<void()> when_connected_;
};

}  // namespace mixrec::ps
