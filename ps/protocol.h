// What workers, shards and the authority say to each other (docs/protocol.md). Plain structs; their
// bytes are made and checked in ps/codec.h.
//
// R rows, E row width, N states, D hidden width, k list length.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "net/buffer.h"
#include "ps/shard_map.h"

namespace mixrec::ps {

enum class Optimizer : uint8_t { kSgd = 0, kAdagrad = 1, kAdamW = 2 };

struct OptimizerOptions {
  Optimizer kind = Optimizer::kAdamW;
  double beta1 = 0.9, beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0.01;  // decoupled; AdamW and SGD
};

// Columns of a table under the name they have in checkpoints. Initial values are N(0, stddev^2),
// keyed by (seed, name, row) (model.md D34); 0: zeros.
struct PartSpec {
  std::string name;
  int64_t width = 0;
  double stddev = 0;
};

// How concurrent workers see each other's updates.
enum class Consistency : uint8_t { kBsp = 0, kSsp = 1, kAsp = 2 };

struct TableSpec {
  std::string name;
  int64_t rows = 0;
  std::vector<PartSpec> parts;  // E is the sum of their widths
  Partition partition = Partition::kHashed;
  // Sparse tables step the rows that are pushed (row-lazy, model.md D33); dense ones all rows of
  // the shard, once a step: the item projection under the exact softmax. The last part of a softmax
  // table has width 1 and is its bias.
  bool dense = false;
  OptimizerOptions optimizer;
  uint64_t seed = 0;

  int64_t width() const;
  // Whether the softmax verbs go with it: contiguous rows, a part of weights and one of biases.
  bool softmax() const {
    return partition == Partition::kRanges && parts.size() == 2 && parts.back().width == 1;
  }
};
bool operator==(const TableSpec& a, const TableSpec& b);

// A table of a namespace (study/trial/attempt, or one training run).
struct TableKey {
  std::string space, table;
};

// --- requests of workers. Effects (marked E) happen once, whatever the network does. ---

// E. A worker's incarnation begins: what an older one of this rank left unfinished is dropped, and
// its messages are refused. The namespace is made if it is not there. All ranks agree on the rest.
struct OpenSession {
  std::string space;
  int32_t rank = 0, world = 1;
  Consistency consistency = Consistency::kBsp;
  int32_t staleness = 0;       // of kSsp: steps ahead of the slowest
  int64_t lease_seconds = 60;  // the namespace is dropped when nobody speaks for so long; 0: never
};
struct RenewLease {
  std::string space;
};
// E. Idempotent; refused when the table is there with another spec.
struct CreateTable {
  std::string space;
  TableSpec spec;
};
// Rows by id as of step `step`: parked until they contain what the consistency mode demands, and,
// in every mode, all steps before `at_least` of every rank.
struct Pull {
  TableKey key;
  int64_t step = 0;
  int64_t at_least = 0;  // the first step of the worker's run; or `step`, for settled rows
  net::Buffer ids;       // [R] int32, each owned by the shard
};
// E. One of `parts` pieces of a rank's gradients of one step. A rank pushes every step to every
// shard, if need be one piece without rows: that is what its clock counts.
struct Push {
  TableKey key;
  int64_t step = 0;
  int32_t part = 0, parts = 1;
  double learning_rate = 0;
  net::Buffer ids;        // [R] int32, distinct within the rank's step
  net::Buffer gradients;  // [R, E] fp32
};
// First half of the vocabulary-parallel softmax (ps.md). Kept under (rank, step, part) for the
// second.
struct SoftmaxForward {
  TableKey key;
  int64_t step = 0;
  int32_t part = 0, parts = 1;
  int64_t sampled = 0;       // proposals drawn from the whole vocabulary; 0: the exact softmax
  bool log_uniform = false;  // proposal: log-uniform by item index, or uniform
  int64_t width = 0;         // D
  net::Buffer states;        // [N, D] fp32
  net::Buffer labels;        // [N] int32
  int64_t at_least = 0;      // as a pull's
};
// E. Second half: the gradient of the table, and its optimiser's step once every piece of every
// rank is there. `states` and `labels` are empty when the shard has them from the first half; it
// answers kMissingForward when it does not (a backup that took over), and the worker sends them.
struct SoftmaxBackward {
  TableKey key;
  int64_t step = 0;
  int32_t part = 0, parts = 1;
  int64_t sampled = 0;
  bool log_uniform = false;
  double learning_rate = 0;
  int64_t width = 0;
  net::Buffer log_sum_exp, weights;  // [N] fp32
  net::Buffer states, labels;
};
// The k best rows for each state, as of `step` (settled: so are Rank and Save), best first, ties by
// smaller row.
struct TopK {
  TableKey key;
  int64_t step = 0;
  int32_t k = 10;
  int64_t width = 0;
  net::Buffer states;                        // [N, D] fp32
  net::Buffer exclude_offsets, exclude_ids;  // [N + 1] and [offsets[N]] int32; empty: none
};
// Two rounds: without `target_scores` the scores of the targets the shard owns (NaN for others);
// with them how many of the shard's rows are ranked before each target.
struct Rank {
  TableKey key;
  int64_t step = 0;
  int64_t width = 0;
  net::Buffer states;         // [N, D] fp32
  net::Buffer targets;        // [N] int32
  net::Buffer target_scores;  // [N] fp32 or empty
  net::Buffer exclude_offsets, exclude_ids;
};
// The shard's rows of all tables of the namespace at `step`, as one file in `folder`
// (ps/snapshot.h).
struct Save {
  std::string space;
  std::string folder;
  int64_t step = 0;
};
// E. Replaces the rows of all tables by those of a snapshot, of whatever number of shards; clocks
// start at `step`.
struct Restore {
  std::string space;
  std::string folder;
  int64_t step = 0;
};
// E.
struct DropNamespace {
  std::string space;
};
struct Stats {};
// To the authority, or a shard: the newest map.
struct GetMap {};

// --- between shards, and with the authority ---

// The primary's update number `sequence`, for its backup or learner: the very message of a worker.
struct Replicate {
  uint64_t sequence = 0;
  net::Buffer original;  // the head of the worker's message
  std::vector<net::Buffer> frames;
};
struct Replicated {
  uint64_t up_to = 0;  // every update up to it is there
};
// The whole state after update `sequence`, cut in pieces, for a learner.
struct StateImage {
  uint64_t sequence = 0;
  int32_t part = 0, parts = 1;
  net::Buffer bytes;
};
struct StateImageReceived {
  uint64_t sequence = 0;
  int32_t part = 0;
};
// A shard process tells the authority that it lives and what it holds; the answer is a Map.
struct Heartbeat {
  std::string endpoint;
  uint64_t incarnation = 0;
  int32_t slot = -1;        // -1: none yet
  uint64_t slot_epoch = 0;  // that it works under
  bool caught_up = false;   // a learner that has the state
};

// --- answers ---

enum class Code : uint8_t {
  kOk = 0,
  kRefused = 1,     // the request is wrong; the text says why
  kWrongEpoch = 2,  // the map of the worker, or of the shard, is old: ask for the map, try again
  kNotPrimary = 3,  // as kWrongEpoch
  kParked = 4,      // alive; the answer comes when the rows are there; the text says who is missing
  kMissingForward = 5,  // see SoftmaxBackward
  kUnknownSpace = 6,    // no such namespace, table or session: the shard has lost it
  kFenced = 7,          // a newer incarnation of this rank is at work
  kFailed = 8,          // the shard could not do it (disk, memory); the text says why
};

struct Done {
  int64_t version = 0;  // steps that every rank has pushed, of the table concerned
};
struct Rows {
  net::Buffer rows;  // [R, E] fp32
};
struct SoftmaxPartial {
  net::Buffer maximum, sum;  // [N] fp32: m_s and l_s
  net::Buffer label_logits;  // [N] fp32; NaN where the label is elsewhere
  net::Buffer label_rows;    // [owned, D] fp32: W_y of the states whose label is here, in order
  net::Buffer numerators;    // [N, D] fp32: A_s
};
struct TopKLists {
  net::Buffer ids, scores;  // [N, k'] int32, fp32; k' = min(k, local rows)
};
struct RankPartial {
  net::Buffer target_scores;  // first round, [N] fp32
  net::Buffer counts;         // second round, [N] int32
};
struct Saved {
  std::string file;
  int64_t bytes = 0;
  std::string hash;  // of the whole file
};
struct StatsReport {
  std::string json;
};
struct Map {
  ShardMap map;
};

using Body = std::variant<OpenSession, RenewLease, CreateTable, Pull, Push, SoftmaxForward,
                          SoftmaxBackward, TopK, Rank, Save, Restore, DropNamespace, Stats, GetMap,
                          Replicate, Replicated, StateImage, StateImageReceived, Heartbeat, Done,
                          Rows, SoftmaxPartial, TopKLists, RankPartial, Saved, StatsReport, Map>;

// Around every body.
struct Envelope {
  uint64_t request = 0;      // of the sender's incarnation, from 1, growing; an answer repeats it
  uint64_t incarnation = 0;  // of the sender's process, chosen at random
  uint64_t epoch = 0;        // the slot's, as the sender knows it
  uint64_t done_below = 0;   // a worker has the answers to all requests below
  int32_t slot = -1;         // the shard concerned
  Code code = Code::kOk;     // of an answer
  std::string text;          // of an answer that is not kOk: one line for a person
};

struct Wire {
  Envelope envelope;
  Body body;
};

}  // namespace mixrec::ps
