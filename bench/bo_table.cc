// Scores by method and problem, and how they grow with the results.
#include <absl/strings/str_format.h>
#include <absl/strings/str_split.h>

#include <cmath>
#include <map>
#include <utility>

#include "bench/bo.h"
#include "bo_driver/problems.h"
#include "bo_driver/virtual_run.h"

namespace mixrec::bench {
namespace {

using bo_driver::Problem;
using bo_driver::Reference;

constexpr uint64_t kInstances = 5;
constexpr int kCurveSteps = 6;  // places of the curves

struct Spread {
  double mean = 0, standard_error = 0;
};

Spread SpreadOf(const std::vector<double>& values) {
  Spread spread;
  const double n = static_cast<double>(values.size());
  for (double value : values) spread.mean += value / n;
  if (values.size() < 2) return spread;
  double squares = 0;
  for (double value : values) squares += (value - spread.mean) * (value - spread.mean);
  spread.standard_error = std::sqrt(squares / (n - 1) / n);
  return spread;
}

std::string Cell(const std::vector<double>& values) {
  const Spread spread = SpreadOf(values);
  return absl::StrFormat(" %.3f +- %.3f |", spread.mean, spread.standard_error);
}

std::vector<std::string> Names(const std::string& list) {
  return absl::StrSplit(list, ',', absl::SkipEmpty());
}

struct Instance {
  Problem problem;
  Reference reference;
};

// By problem, the five instances.
using Instances = std::map<std::string, std::vector<Instance>>;

absl::StatusOr<Instances> InstancesOf(const BoTableOptions& options) {
  Instances instances;
  for (const std::string& name : Names(options.problems)) {
    const uint64_t first =
        options.first_instance != 0 ? options.first_instance : bo_driver::FirstInstance(name);
    for (uint64_t instance = first; instance < first + kInstances; ++instance) {
      MIXREC_ASSIGN_OR_RETURN(Problem problem, bo_driver::MakeProblem(name, instance));
      if (!problem.space.ordinals.empty()) {
        return UsageError("--problem=", name, " has no scores");
      }
      const auto listed = bo_driver::FindReference(name, instance);
      const Reference reference = listed ? *listed : bo_driver::ComputeReference(problem);
      instances[name].push_back({std::move(problem), reference});
    }
  }
  return instances;
}

// What a method did, in the same order of (problem, seed) for every method.
struct MethodResults {
  std::vector<double> scores, seconds;
  std::vector<std::vector<double>> curves;  // [runs][results] scores
};
using Results = std::map<std::string, MethodResults>;

// Runs a method on a problem with every seed; prints its cell.
void RunProblem(const BoTableOptions& options, bo_driver::Method method,
                const std::vector<Instance>& instances, MethodResults* results, std::ostream& out) {
  std::vector<double> own;
  for (uint64_t s = 0; s < static_cast<uint64_t>(options.seeds); ++s) {
    const uint64_t seed = options.first_seed + s;
    const Instance& instance = instances[seed % kInstances];
    const bo_driver::VirtualRunResult result = bo_driver::RunVirtually(
        instance.problem, {method, seed, options.groups, options.evaluations});
    own.push_back(instance.reference.Score(result.value));
    results->seconds.push_back(result.ask_seconds);
    results->curves.emplace_back();
    for (const double value : result.curve) {
      results->curves.back().push_back(instance.reference.Score(value));
    }
  }
  results->scores.insert(results->scores.end(), own.begin(), own.end());
  out << Cell(own) << std::flush;
}

absl::StatusOr<Results> PrintScores(const BoTableOptions& options, const Instances& instances,
                                    std::ostream& out) {
  const std::vector<std::string> problems = Names(options.problems);
  out << "| method |";
  for (const std::string& problem : problems) out << " " << problem << " |";
  out << " all | seconds a suggestion |\n|---|---|---|";
  for (size_t i = 0; i < problems.size(); ++i) out << "---|";
  out << "\n";
  Results results;
  for (const std::string& name : Names(options.methods)) {
    MIXREC_ASSIGN_OR_RETURN(const bo_driver::Method method, bo_driver::ParseMethod(name));
    out << "| " << name << " |" << std::flush;
    for (const std::string& problem : problems) {
      RunProblem(options, method, instances.at(problem), &results[name], out);
    }
    out << Cell(results[name].scores)
        << absl::StrFormat(" %.4f |\n", SpreadOf(results[name].seconds).mean) << std::flush;
  }
  return results;
}

// The first method's score less each other's in the same run, by problem and over all.
void PrintPairedDifferences(const BoTableOptions& options, const Results& results,
                            std::ostream& out) {
  const std::vector<std::string> methods = Names(options.methods),
                                 problems = Names(options.problems);
  if (methods.size() < 2) return;
  const std::vector<double>& first = results.at(methods.front()).scores;
  out << "\n| paired |";
  for (const std::string& problem : problems) out << " " << problem << " |";
  out << " all |\n|---|---|";
  for (size_t i = 0; i < problems.size(); ++i) out << "---|";
  out << "\n";
  for (size_t m = 1; m < methods.size(); ++m) {
    std::vector<double> differences = first;
    for (size_t i = 0; i < first.size(); ++i) differences[i] -= results.at(methods[m]).scores[i];
    out << "| " << methods.front() << " - " << methods[m] << " |";
    const auto seeds = static_cast<std::ptrdiff_t>(options.seeds);
    for (auto own = differences.begin(); own != differences.end(); own += seeds) {
      out << Cell({own, own + seeds});
    }
    out << Cell(differences) << "\n";
  }
}

// Mean score of the best found after so many results.
double MeanAfter(const MethodResults& results, int count) {
  double sum = 0;
  for (const std::vector<double>& curve : results.curves) {
    sum += curve[std::min(curve.size(), static_cast<size_t>(count)) - 1];
  }
  return sum / static_cast<double>(results.curves.size());
}

void PrintCurves(const BoTableOptions& options, const Results& results, std::ostream& out) {
  std::vector<int> places;
  for (int step = 1; step <= kCurveSteps; ++step) {
    const int place = options.evaluations * step / kCurveSteps;
    if (place > (places.empty() ? 0 : places.back())) places.push_back(place);
  }
  out << "\nmean score of the best found after so many results:\n\n| method |";
  for (const int place : places) out << " " << place << " |";
  out << "\n|---|";
  for (size_t i = 0; i < places.size(); ++i) out << "---|";
  out << "\n";
  for (const std::string& method : Names(options.methods)) {
    out << "| " << method << " |";
    for (const int place : places) {
      out << absl::StrFormat(" %.3f |", MeanAfter(results.at(method), place));
    }
    out << "\n";
  }
}

}  // namespace

absl::Status PrintBoTable(const BoTableOptions& options, std::ostream& out) {
  MIXREC_ASSIGN_OR_RETURN(const Instances instances, InstancesOf(options));
  out << absl::StrFormat("%d evaluations, %d group(s), seeds %d..%d, score +- standard error\n\n",
                         options.evaluations, options.groups, options.first_seed,
                         options.first_seed + static_cast<uint64_t>(options.seeds) - 1);
  MIXREC_ASSIGN_OR_RETURN(const Results results, PrintScores(options, instances, out));
  PrintPairedDifferences(options, results, out);
  PrintCurves(options, results, out);
  return absl::OkStatus();
}

}  // namespace mixrec::bench
