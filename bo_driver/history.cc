#include "bo_driver/history.h"

#include <algorithm>
#include <utility>

#include "common/log.h"

namespace mixrec::bo_driver {
namespace {

// Attempts at a random point of a small space, and of one too large to be enumerated.
// Random points that are looked at before one looks elsewhere, and steps around those tried.
constexpr int kAttempts = 1000, kMostAttempts = 1 << 14;
constexpr uint64_t kMostSteps = 3;

}  // namespace

History::History(SearchSpace space, std::function<bool(const Point&)> feasible)
    : space_(std::move(space)), feasible_(std::move(feasible)) {}

void History::Add(const Point& point) {
  CHECK(space_.Contains(point)) << "a suggestion lies outside the search space";
  entries_.push_back({point});
  taken_.insert(space_.Canonical(point));
}

void History::Tell(int number, double value) {
  Entry& entry = PendingEntry(number);
  entry.status = Status::kDone;
  entry.value = value;
}

void History::TellFailure(int number) { PendingEntry(number).status = Status::kFailed; }

History::Entry& History::PendingEntry(int number) {
  CHECK(number >= 0 && number < size()) << "no suggestion " << number;
  Entry& entry = entries_[static_cast<size_t>(number)];
  CHECK(entry.status == Status::kPending) << "suggestion " << number << " has a result already";
  return entry;
}

int History::successes() const {
  return static_cast<int>(std::count_if(entries_.begin(), entries_.end(), [](const Entry& entry) {
    return entry.status == Status::kDone;
  }));
}

int History::BestNumber() const {
  int best = -1;
  for (int number = 0; number < size(); ++number) {
    const Entry& entry = entries_[static_cast<size_t>(number)];
    if (entry.status != Status::kDone) continue;
    if (best < 0 || entry.value > entries_[static_cast<size_t>(best)].value) best = number;
  }
  return best;
}

std::vector<Evaluation> History::Evaluations() const {
  std::vector<Evaluation> evaluations;
  for (const Entry& entry : entries_) {
    if (entry.status == Status::kDone) evaluations.push_back({entry.point, entry.value});
    if (entry.status == Status::kFailed) evaluations.push_back({entry.point, std::nullopt});
  }
  return evaluations;
}

std::vector<Point> History::Pending() const {
  std::vector<Point> pending;
  for (const Entry& entry : entries_) {
    if (entry.status == Status::kPending) pending.push_back(entry.point);
  }
  return pending;
}

bool History::exhausted() const {
  if (static_cast<double>(taken_.size()) >= space_.size()) return true;
  const bool plain = !space_.canonical && !feasible_;
  if (plain) return false;
  if (space_.size() <= kEnumerable) return OpenPoints().empty();
  return !FindOpenPoint(RandomStream(0)).has_value();
}

std::vector<Point> History::OpenPoints() const {
  std::vector<Point> open;
  Point point = space_.AllSerial();
  for (int i = 0; i >= 0;) {
    if (space_.Canonical(point) == point && IsOpen(point)) open.push_back(point);
    for (i = space_.dimensions() - 1; i >= 0; --i) {
      uint8_t& level = point[static_cast<size_t>(i)];
      if (++level < space_.levels(i)) break;
      level = 0;
    }
  }
  return open;
}

std::optional<Point> History::FindOpenPoint(RandomStream stream) const {
  for (int attempt = 0; attempt < kMostAttempts; ++attempt) {
    Point point = space_.Canonical(space_.Random(stream));
    if (IsOpen(point)) return point;
  }
  std::vector<Point> centres{space_.AllSerial(), space_.AllParallel()};
  for (const Entry& entry : entries_) centres.push_back(entry.point);
  const auto dimensions = static_cast<uint64_t>(space_.dimensions());
  for (int attempt = 0; attempt < kMostAttempts; ++attempt) {
    Point point = centres[stream.Below(centres.size())];
    for (uint64_t steps = stream.Below(kMostSteps + 1); steps > 0; --steps) {
      const auto i = static_cast<size_t>(stream.Below(dimensions));
      point[i] = static_cast<uint8_t>(
          stream.Below(static_cast<uint64_t>(space_.levels(static_cast<int>(i)))));
    }
    point = space_.Canonical(std::move(point));
    if (IsOpen(point)) return point;
  }
  return std::nullopt;
}

Point History::RandomOpenPoint(RandomStream stream) const {
  if (space_.size() > kEnumerable) {
    std::optional<Point> point = FindOpenPoint(stream);
    if (!point) point = FindOpenPoint(RandomStream(0));  // as exhausted() has
    CHECK(point) << "a space that is used up has no open point";
    return *std::move(point);
  }
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    Point point = space_.Canonical(space_.Random(stream));
    if (IsOpen(point)) return point;
  }
  const std::vector<Point> open = OpenPoints();
  return open[stream.Below(open.size())];
}

}  // namespace mixrec::bo_driver
