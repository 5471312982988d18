// Seconds of a suggestion in the steady state of a search: a result comes, the surrogate is fitted
// to it, the next point is chosen.
#include <absl/strings/str_format.h>

#include <algorithm>
#include <ctime>
#include <deque>

#include "bench/bo.h"
#include "bo_driver/driver.h"
#include "bo_driver/problems.h"
#include "common/log.h"

namespace mixrec::bench {
namespace {

using bo_driver::Problem;

// Of this process, which has one thread here: other users of the machine do not count.
double CpuSeconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

// A driver with results and pending points, which are asked for and told in their order.
class SteadySearch {
 public:
  SteadySearch(const Problem& problem, bo_driver::DriverOptions options)
      : problem_(problem), seed_(options.seed), driver_(problem.space, std::move(options)) {}

  // Seconds that the suggestion took.
  double Ask() {
    const double before = CpuSeconds();
    std::optional<bo_driver::Suggestion> suggestion = driver_.Ask();
    const double seconds = CpuSeconds() - before;
    CHECK(suggestion.has_value()) << "a space of 36 bits is not used up";
    pending_.push_back(std::move(*suggestion));
    return seconds;
  }
  void TellOldest() {
    const bo_driver::Suggestion& oldest = pending_.front();
    driver_.Tell(oldest.number,
                 problem_.value(oldest.point) +
                     problem_.noise * bo_driver::ObservationNoise(seed_, results_++));
    pending_.pop_front();
  }

 private:
  const Problem& problem_;
  const uint64_t seed_;
  bo_driver::Driver driver_;
  std::deque<bo_driver::Suggestion> pending_;
  uint64_t results_ = 0;
};

// Mean and slowest, as a cell. All results but the last ones are of random points.
std::string CostCell(const Problem& problem, const BoCostOptions& options, bo_driver::Method method,
                     int observations, int pending) {
  bo_driver::DriverOptions driver;
  driver.method = method;
  driver.seed = options.seed;
  driver.initial = observations - 1;
  SteadySearch search(problem, driver);
  for (int i = 1; i < observations; ++i) {
    search.Ask();
    search.TellOldest();
  }
  for (int i = 0; i <= pending; ++i) search.Ask();
  double sum = 0, slowest = 0;
  for (int i = 0; i < options.suggestions; ++i) {
    search.TellOldest();
    const double seconds = search.Ask();
    sum += seconds;
    slowest = std::max(slowest, seconds);
  }
  return absl::StrFormat(" %.4f (%.4f) |", sum / options.suggestions, slowest);
}

}  // namespace

absl::Status PrintBoCost(const BoCostOptions& options, std::ostream& out) {
  MIXREC_ASSIGN_OR_RETURN(const bo_driver::Method method, bo_driver::ParseMethod(options.method));
  MIXREC_ASSIGN_OR_RETURN(
      const Problem problem,
      bo_driver::MakeProblem(options.problem, bo_driver::FirstInstance(options.problem)));
  out << "CPU seconds of a suggestion, the fit included: mean (slowest) of " << options.suggestions
      << "; " << options.method << " on " << options.problem << "\n\n| results |";
  for (const int pending : options.pending) out << " " << pending << " pending |";
  out << "\n|---|";
  for (size_t i = 0; i < options.pending.size(); ++i) out << "---|";
  out << "\n";
  for (const int observations : options.observations) {
    out << "| " << observations << " |";
    for (const int pending : options.pending) {
      out << CostCell(problem, options, method, observations, pending) << std::flush;
    }
    out << "\n";
  }
  return absl::OkStatus();
}

}  // namespace mixrec::bench
