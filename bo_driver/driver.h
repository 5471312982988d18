// The search as ask and tell: which point to evaluate next, given what was found so far.
//
// Surrogate: a Gaussian process (gaussian_process.h); acquisition: log expected improvement,
// maximised by local search and by probabilistic reparameterization (paper Sec. 2.3.3, Alg. 1;
// Daulton et al. 2022), the larger value wins. Points asked for and not yet told are believed to
// have the surrogate's mean (kriging believer), so that several groups may ask at the same time.
//
// A suggestion is a function of the options, the trial number and the sequence of asks and tells
// before it: a replayed study makes the same suggestions. No input or output, no clock; one thread.
#pragma once

#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bo_driver/driver_options.h"
#include "bo_driver/initial_design.h"
#include "bo_driver/search_space.h"

namespace mixrec::bo_driver {

struct Suggestion {
  int number = 0;
  Point point;
  std::string source;  // "baseline", "prior", "random", "pr", "local", "near" or "climb"
  // Log expected improvement in units of the standardised objective; NaN without a surrogate.
  double acquisition = std::numeric_limits<double>::quiet_NaN();
};

struct Incumbent {
  int number = -1;  // -1: nothing told yet
  Point point;
  double value = std::numeric_limits<double>::quiet_NaN();  // observed
  double mean = std::numeric_limits<double>::quiet_NaN();   // posterior mean; NaN without surrogate
};

// The state of the surrogate, for logs and reports.
struct ModelSummary {
  bool fitted = false;
  std::string kernel;         // "hamming" or "windows"
  double noise_variance = 0;  // of the standardised objective
  double leave_one_out_r2 = 0;
  bool explains_nothing() const { return fitted && leave_one_out_r2 < 0; }
};

// Effect of a bit: posterior difference of the mean objective between bit = 1 and bit = 0, other
// bits as in the evaluated points.
struct BitEffect {
  double mean = 0;
  double standard_error = 0;
};

class Driver {
 public:
  Driver(SearchSpace space, DriverOptions options);
  Driver(Driver&&) noexcept;
  Driver& operator=(Driver&&) noexcept;
  ~Driver();

  // The next point, never one that was suggested before nor an infeasible one; nullopt when the
  // whole space has been.
  std::optional<Suggestion> Ask();
  // Whether Ask would have a point.
  bool exhausted() const;
  // Records a suggestion that an earlier process made (same effect as the Ask that made it, but for
  // the search of the acquisition), or that somebody else makes: a point may be repeated so.
  // Numbers are consecutive.
  void Replay(const Suggestion& suggestion);
  // The result of a suggestion. Higher is better; must be finite.
  void Tell(int number, double value);
  // The suggestion failed: learnt from as the worst value seen with a larger noise, not repeated.
  void TellFailure(int number);

  // The best observed value, and the best posterior mean among the evaluated points (the former
  // when there is no surrogate yet).
  Incumbent BestObserved() const;
  Incumbent BestByMean() const;
  ModelSummary Summary() const;
  // One a bit; empty before the surrogate exists.
  std::vector<BitEffect> BitEffects() const;
  const SearchSpace& space() const;
  int initial_points() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace mixrec::bo_driver
