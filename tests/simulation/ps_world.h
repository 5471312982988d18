// A parameter server and a training job on a simulated network: the very shards, authority and
// clients that `mixrec` links, under faults drawn from a seed. Workers count: each push adds 1 to
// its rank's column of some rows, so every row says how often each push was applied.
#pragma once

#include <cstdint>
#include <string>

#include "ps/mutation.h"
#include "ps/protocol.h"

namespace mixrec::ps {

struct WorldOptions {
  uint64_t seed = 1;
  int shards = 2;
  int replicas = 1;
  int workers = 2;
  Consistency consistency = Consistency::kBsp;
  int staleness = 0;
  int64_t steps = 12;
  int64_t rows = 13;
  int64_t save_every = 0;    // steps between snapshots; 0: none
  double tear = 0;           // chance that a shard dies while it writes a snapshot
  double think_seconds = 0;  // longest pause of a worker between steps
  double drop = 0, duplicate = 0, straggle = 0;
  // At most one shard process is in trouble at a time, and nobody else: with a backup nothing may
  // be noticed then, so the job must not be started again.
  bool gentle = false;
  int faults = 0;
  bool calm = false;  // no faults at all, whatever the rest says: what a run should end with
  Mutation mutation = Mutation::kNone;
  bool trace = false;
};

// Everything drawn from the seed.
WorldOptions DrawWorld(uint64_t seed, Mutation mutation = Mutation::kNone);
std::string Describe(const WorldOptions& options);

struct WorldResult {
  std::string violation;  // empty: all promises were kept
  uint64_t history = 0;   // hash of everything that happened
  uint64_t events = 0;
  int restarts = 0;         // of the job
  int takeovers = 0;        // by backups
  uint64_t parameters = 0;  // hash of the tables at the end
  std::string trace;
};

WorldResult RunWorld(const WorldOptions& options);

}  // namespace mixrec::ps
