// Who has pushed what: the clocks of the ranks of one table, the pieces that wait for their step,
// and which reads may go on. All consistency modes are this one gate (ps.md, "Consistency").
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "common/status.h"
#include "ps/protocol.h"

namespace mixrec::ps {

struct GateOptions {
  int world = 1;
  Consistency consistency = Consistency::kBsp;
  int staleness = 0;
};

// A rank's part of a step: a Push or a SoftmaxBackward as it came (frames are shared).
struct Piece {
  int rank = 0;
  int64_t step = 0;
  int32_t part = 0, parts = 1;
  Body body;
};

// One thread.
class StepGate {
 public:
  explicit StepGate(const GateOptions& options);

  // Takes a piece and returns what is complete now: groups of pieces, in the order in which they
  // are to be applied, each group one step of the optimiser, its pieces by (rank, part). Under bsp
  // a group has the pieces of all ranks, otherwise those of one. A piece that is there already, or
  // belongs to a finished step, is dropped. UsageError when it contradicts the others.
  absl::StatusOr<std::vector<std::vector<Piece>>> Add(Piece piece);

  // Whether rows may be read for `step`: bsp, all updates of earlier steps are in; ssp, those of
  // steps before step - staleness; asp, always.
  bool Admits(int64_t step) const;
  // Whether every rank has pushed all steps before `step`: what evaluations and snapshots ask for
  // in every mode. (A primary that was replaced without knowing it never gets there.)
  bool Settled(int64_t step) const { return version() >= step; }
  // Who is behind: "waits for rank 3 to push step 17".
  std::string Missing() const;

  // Steps that every rank has pushed.
  int64_t version() const;
  const std::vector<int64_t>& clocks() const { return clocks_; }

  // The next step of every rank is `step`; forgets what waited.
  void Reset(int64_t step);
  // Drops what a rank's dead incarnation left of unfinished steps.
  void Forget(int rank);

  // For copies of the state: every waiting piece, and the clocks.
  std::vector<Piece> Waiting() const;
  void Load(std::vector<int64_t> clocks, std::vector<Piece> waiting);

 private:
  using Parts = std::map<int32_t, Piece>;
  // How many steps a rank may be ahead of its own oldest unfinished one: pieces in flight overtake
  // each other, but not by more.
  static constexpr int64_t kMostAhead = 64;

  bool Complete(int rank, int64_t step) const;
  std::vector<Piece> Take(int rank, int64_t step);

  GateOptions options_;
  std::vector<int64_t> clocks_;                    // steps pushed, by rank
  std::vector<std::map<int64_t, Parts>> waiting_;  // by rank and step
  int64_t applied_ = 0;                            // bsp: steps handed out
};

}  // namespace mixrec::ps
