#include "ps/step_gate.h"

#include <algorithm>

#include "common/log.h"

namespace mixrec::ps {

StepGate::StepGate(const GateOptions& options)
    : options_(options),
      clocks_(static_cast<size_t>(options.world), 0),
      waiting_(static_cast<size_t>(options.world)) {
  CHECK_GE(options.world, 1);
}

absl::StatusOr<std::vector<std::vector<Piece>>> StepGate::Add(Piece piece) {
  CHECK(piece.rank >= 0 && piece.rank < options_.world);
  int64_t& clock = clocks_[static_cast<size_t>(piece.rank)];
  std::vector<std::vector<Piece>> groups;
  if (piece.step < clock) return groups;
  if (piece.step > clock + kMostAhead) {
    return UsageError("rank ", piece.rank, " pushes step ", piece.step, " while its step ", clock,
                      " is not complete");
  }
  if (piece.parts < 1 || piece.part < 0 || piece.part >= piece.parts) {
    return UsageError("piece ", piece.part, " of ", piece.parts);
  }
  const int rank = piece.rank;
  Parts& parts = waiting_[static_cast<size_t>(rank)][piece.step];
  if (!parts.empty() && parts.begin()->second.parts != piece.parts) {
    return UsageError("rank ", rank, " cuts step ", piece.step, " into ", piece.parts,
                      " pieces, and before into ", parts.begin()->second.parts);
  }
  parts.emplace(piece.part, std::move(piece));
  for (; Complete(rank, clock); ++clock) {
    if (options_.consistency != Consistency::kBsp) groups.push_back(Take(rank, clock));
  }
  if (options_.consistency != Consistency::kBsp) return groups;
  for (; applied_ < *std::min_element(clocks_.begin(), clocks_.end()); ++applied_) {
    std::vector<Piece> step;
    for (int r = 0; r < options_.world; ++r) {
      for (Piece& taken : Take(r, applied_)) step.push_back(std::move(taken));
    }
    groups.push_back(std::move(step));
  }
  return groups;
}

bool StepGate::Complete(int rank, int64_t step) const {
  const auto& steps = waiting_[static_cast<size_t>(rank)];
  const auto found = steps.find(step);
  return found != steps.end() && !found->second.empty() &&
         found->second.size() == static_cast<size_t>(found->second.begin()->second.parts);
}

std::vector<Piece> StepGate::Take(int rank, int64_t step) {
  auto& steps = waiting_[static_cast<size_t>(rank)];
  std::vector<Piece> pieces;
  for (auto& [part, piece] : steps.at(step)) pieces.push_back(std::move(piece));
  steps.erase(step);
  return pieces;
}

int64_t StepGate::version() const { return *std::min_element(clocks_.begin(), clocks_.end()); }

bool StepGate::Admits(int64_t step) const {
  switch (options_.consistency) {
    case Consistency::kBsp:
      return version() >= step;
    case Consistency::kSsp:
      return version() >= step - options_.staleness;
    case Consistency::kAsp:
      return true;
  }
  return false;
}

std::string StepGate::Missing() const {
  std::string ranks;
  for (size_t rank = 0; rank < clocks_.size(); ++rank) {
    if (clocks_[rank] == version()) ranks += StrCat(ranks.empty() ? "" : ", ", rank);
  }
  return StrCat("waits for rank ", ranks, " to push step ", version());
}

void StepGate::Reset(int64_t step) {
  std::fill(clocks_.begin(), clocks_.end(), step);
  applied_ = step;
  for (auto& steps : waiting_) steps.clear();
}

void StepGate::Forget(int rank) {
  // Under bsp a finished step may still wait for the other ranks: it is this rank's word, and
  // stays.
  auto& steps = waiting_[static_cast<size_t>(rank)];
  steps.erase(steps.lower_bound(clocks_[static_cast<size_t>(rank)]), steps.end());
}

std::vector<Piece> StepGate::Waiting() const {
  std::vector<Piece> pieces;
  for (const auto& steps : waiting_) {
    for (const auto& [step, parts] : steps) {
      for (const auto& [part, piece] : parts) pieces.push_back(piece);
    }
  }
  return pieces;
}

void StepGate::Load(std::vector<int64_t> clocks, std::vector<Piece> waiting) {
  CHECK_EQ(clocks.size(), clocks_.size());
  clocks_ = std::move(clocks);
  applied_ = *std::min_element(clocks_.begin(), clocks_.end());
  for (auto& steps : waiting_) steps.clear();
  for (Piece& piece : waiting) {
    Parts& parts = waiting_[static_cast<size_t>(piece.rank)][piece.step];
    const int32_t part = piece.part;
    parts.emplace(part, std::move(piece));
  }
}

}  // namespace mixrec::ps
