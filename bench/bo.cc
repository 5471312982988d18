#include "bench/bo.h"

#include <absl/strings/str_format.h>
#include <absl/strings/str_split.h>

#include <cmath>
#include <map>
#include <vector>

#include "bo_driver/problems.h"
#include "bo_driver/virtual_run.h"

namespace mixrec::bench {
namespace {

using bo_driver::Point;
using bo_driver::Problem;

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

// Scores by method, in the same order of (problem, seed) for each.
using Scores = std::map<std::string, std::vector<double>>;

void PrintPairedDifferences(const Scores& scores, const std::vector<std::string>& methods,
                            std::ostream& out) {
  const auto found = scores.find("auto");
  if (found == scores.end()) return;
  for (const std::string& method : methods) {
    if (method == "auto") continue;
    std::vector<double> differences;
    for (size_t i = 0; i < found->second.size(); ++i) {
      differences.push_back(found->second[i] - scores.at(method)[i]);
    }
    const Spread spread = SpreadOf(differences);
    out << absl::StrFormat("auto - %s, paired: %+.3f +- %.3f\n", method, spread.mean,
                           spread.standard_error);
  }
}

}  // namespace

absl::StatusOr<nlohmann::json> RunBoBench(const BoBenchOptions& options) {
  if (options.groups < 1) return UsageError("--groups=", options.groups, ": expected 1 or more");
  if (options.evaluations < 1) {
    return UsageError("--evaluations=", options.evaluations, ": expected 1 or more");
  }
  MIXREC_ASSIGN_OR_RETURN(const bo_driver::Method method, bo_driver::ParseMethod(options.method));
  const uint64_t instance = options.instance != 0
                                ? options.instance
                                : bo_driver::FirstInstance(options.problem) + options.seed % 5;
  MIXREC_ASSIGN_OR_RETURN(const Problem problem, bo_driver::MakeProblem(options.problem, instance));
  const bo_driver::VirtualRunResult result =
      bo_driver::RunVirtually(problem, {method, options.seed, options.groups, options.evaluations});
  nlohmann::json line = {{"problem", options.problem},
                         {"instance", instance},
                         {"seed", options.seed},
                         {"method", options.method},
                         {"groups", options.groups},
                         {"evaluations", options.evaluations},
                         {"incumbent", problem.space.Text(result.incumbent)},
                         {"incumbent_value", result.value},
                         {"incumbent_observed", result.observed},
                         {"seconds_per_suggestion", result.ask_seconds},
                         {"max_seconds_per_suggestion", result.slowest_ask_seconds}};
  if (const auto reference = bo_driver::FindReference(options.problem, instance)) {
    line["score"] = reference->Score(result.value);
  }
  return line;
}

absl::Status PrintBoTable(const BoTableOptions& options, std::ostream& out) {
  const std::vector<std::string> methods = Names(options.methods);
  const std::vector<std::string> problems = Names(options.problems);
  out << absl::StrFormat("%d evaluations, %d group(s), seeds %d..%d, score +- standard error\n\n",
                         options.evaluations, options.groups, options.first_seed,
                         options.first_seed + static_cast<uint64_t>(options.seeds) - 1);
  out << "| method |";
  for (const std::string& problem : problems) out << " " << problem << " |";
  out << " all | seconds a suggestion |\n|---|---|---|";
  for (size_t i = 0; i < problems.size(); ++i) out << "---|";
  out << "\n";
  Scores scores;
  for (const std::string& method : methods) {
    out << "| " << method << " |" << std::flush;
    std::vector<double>& all = scores[method];
    std::vector<double> seconds;
    for (const std::string& problem : problems) {
      std::vector<double> own;
      for (int s = 0; s < options.seeds; ++s) {
        BoBenchOptions run;
        run.problem = problem;
        run.seed = options.first_seed + static_cast<uint64_t>(s);
        run.method = method;
        run.groups = options.groups;
        run.evaluations = options.evaluations;
        MIXREC_ASSIGN_OR_RETURN(const nlohmann::json line, RunBoBench(run));
        if (!line.contains("score")) {
          return UsageError("--problems=", options.problems, ": ", problem,
                            " has no listed instances");
        }
        own.push_back(line["score"]);
        seconds.push_back(line["seconds_per_suggestion"]);
      }
      out << Cell(own) << std::flush;
      all.insert(all.end(), own.begin(), own.end());
    }
    out << Cell(all) << absl::StrFormat(" %.4f |\n", SpreadOf(seconds).mean) << std::flush;
  }
  out << "\n";
  PrintPairedDifferences(scores, methods, out);
  return absl::OkStatus();
}

}  // namespace mixrec::bench
