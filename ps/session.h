// A worker's end of the parameter server: blocking calls and started ones, over a ps::Client that
// lives on a transport thread of its own.
//
// R rows, E row width, N states, D hidden width.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/status.h"
#include "ps/protocol.h"

namespace mixrec::ps {

struct SessionOptions {
  std::vector<std::string> servers;  // host:port of authorities, any of them is asked for the map
  std::string space;                 // the namespace of this run or trial
  int rank = 0, world = 1;
  Consistency consistency = Consistency::kBsp;
  int staleness = 0;
  int64_t lease_seconds = 60;
  std::string key_file;          // CURVE; empty: none (loopback)
  double deadline_seconds = 60;  // silence of a shard after which a call fails
  double peer_seconds = 600;     // a shard that waits for other ranks
  int64_t message_bytes = 512 * 1024;
  int64_t window_bytes = 4 * 1024 * 1024;  // in flight with each shard: of effects, and of reads
};

// Sampled softmax (Jean et al. 2015): `count` proposals from the whole vocabulary, logits corrected
// by their expected count; 0: the exact softmax.
struct Sampling {
  int64_t count = 0;
  bool log_uniform = false;
};

struct SoftmaxResult {
  at::Tensor entropies;    // [N] fp32, unweighted
  at::Tensor log_sum_exp;  // [N] fp32
  at::Tensor gradient;     // [N, D] fp32: d entropy / d state, unweighted
};

struct RankRequest {
  at::Tensor states;                           // [N, D] fp32 CPU
  std::vector<int32_t> targets;                // [N]
  std::vector<std::vector<int32_t>> excluded;  // [N] or empty; a target is never excluded
};
struct TopKRequest {
  at::Tensor states;
  int k = 10;
  std::vector<std::vector<int32_t>> excluded;
};
struct TopKResult {
  at::Tensor ids, scores;  // [N, k] int32 and fp32, best first, ties by smaller id; -1 and -inf
                           // where fewer than k are left
};

// All tensors are on the CPU and contiguous. Calls come from one thread. A failure (a lost shard, a
// full disk at the server) is a Status with one line for a person; give the session up then.
class Session {
 public:
  // Connects, fetches the map and opens the session on every shard.
  static absl::StatusOr<std::unique_ptr<Session>> Open(const SessionOptions& options);
  virtual ~Session() = default;

  virtual absl::Status CreateTable(const TableSpec& spec) = 0;

  using Ticket = uint64_t;
  // Rows `ids` (distinct, [R]) as of `step`; may be started before the step begins.
  virtual Ticket StartPull(const std::string& table, int64_t step, std::vector<int32_t> ids) = 0;
  virtual absl::StatusOr<at::Tensor> FinishPull(Ticket ticket) = 0;  // [R, E] fp32
  // Gradients of distinct rows; once a step and table, with no rows if there are none.
  virtual Ticket StartPush(const std::string& table, int64_t step, double learning_rate,
                           std::vector<int32_t> ids, at::Tensor gradients) = 0;
  // states [N, D] fp32, labels [N].
  virtual Ticket StartSoftmax(const std::string& table, int64_t step, at::Tensor states,
                              std::vector<int32_t> labels, const Sampling& sampling) = 0;
  virtual absl::StatusOr<SoftmaxResult> FinishSoftmax(Ticket ticket) = 0;
  // The second half of the softmax `forward`, whose result was `log_sum_exp`; weights [N] fp32.
  virtual Ticket StartSoftmaxBackward(Ticket forward, double learning_rate, at::Tensor log_sum_exp,
                                      at::Tensor weights) = 0;
  // Waits for a push or softmax backward: every shard has it (and its backup).
  virtual absl::Status Finish(Ticket ticket) = 0;
  // Waits for everything started.
  virtual absl::Status Flush() = 0;

  // The rows as of `step`. Excluded rows do not count; ties by smaller row.
  virtual absl::StatusOr<std::vector<int64_t>> Rank(const std::string& table, int64_t step,
                                                    const RankRequest& request) = 0;
  virtual absl::StatusOr<TopKResult> TopK(const std::string& table, int64_t step,
                                          const TopKRequest& request) = 0;

  // Every shard writes its rows of all tables into `folder`, which the servers must see under this
  // path; then the manifest (ps/snapshot.h). One rank calls it, when the others are at `step` too.
  virtual absl::Status Save(const std::string& folder, int64_t step) = 0;
  // Replaces all rows by a snapshot's; the next step is `step`. Tables must have been created.
  virtual absl::Status Restore(const std::string& folder, int64_t step) = 0;
  virtual absl::Status Drop() = 0;
  virtual absl::StatusOr<std::string> Stats() = 0;  // JSON
};

}  // namespace mixrec::ps
