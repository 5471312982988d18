// What the search has asked for and been told, and what is still open to it.
#pragma once

#include <functional>
#include <limits>
#include <optional>
#include <set>
#include <vector>

#include "bo_driver/search_space.h"
#include "bo_driver/surrogate.h"

namespace mixrec::bo_driver {

// Spaces up to this size are enumerated when they are nearly used up.
constexpr double kEnumerable = 1 << 20;

class History {
 public:
  enum class Status { kPending, kDone, kFailed };
  struct Entry {
    Point point;
    Status status = Status::kPending;
    double value = std::numeric_limits<double>::quiet_NaN();  // of kDone
  };

  // `feasible`: whether a canonical point may be tried at all; null: all may.
  History(SearchSpace space, std::function<bool(const Point&)> feasible);

  // --- writing ---------------------------------------------------------------------------------
  void Add(const Point& point);         // asked for
  void Tell(int number, double value);  // CHECKs that it is pending, as TellFailure does
  void TellFailure(int number);

  // --- reading ---------------------------------------------------------------------------------
  const SearchSpace& space() const { return space_; }
  const std::function<bool(const Point&)>& feasible() const { return feasible_; }
  int size() const { return static_cast<int>(entries_.size()); }
  const std::vector<Entry>& entries() const { return entries_; }  // by number
  const std::set<Point>& taken() const { return taken_; }         // in canonical form
  int successes() const;
  int BestNumber() const;  // of the largest value; -1: none
  std::vector<Evaluation> Evaluations() const;
  std::vector<Point> Pending() const;

  // --- what is left ----------------------------------------------------------------------------
  bool IsOpen(const Point& canonical) const {
    return taken_.count(canonical) == 0 && (!feasible_ || feasible_(canonical));
  }
  // Whether no open point is left; of a large space of which hardly anything is feasible: none that
  // is found at random, or around those tried.
  bool exhausted() const;
  // Every open point of a small space, in lexicographic order.
  std::vector<Point> OpenPoints() const;
  // CHECKs that there is one.
  Point RandomOpenPoint(RandomStream stream) const;

 private:
  Entry& PendingEntry(int number);
  // Of a large space.
  std::optional<Point> FindOpenPoint(RandomStream stream) const;

  SearchSpace space_;
  std::function<bool(const Point&)> feasible_;
  std::vector<Entry> entries_;
  std::set<Point> taken_;
};

}  // namespace mixrec::bo_driver
