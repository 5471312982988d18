// The check values of the test problems: published with the problems' definition, independent of
// this implementation.
#include <absl/strings/str_format.h>

#include <cmath>

#include "bench/bo.h"
#include "bo_driver/problems.h"

namespace mixrec::bench {
namespace {

struct Check {
  const char* problem;
  uint64_t instance;
  const char* point;  // as SearchSpace::Text writes it
  double value;
};

constexpr char kZeros[] = "000000000000000000000000000000000000";
constexpr char kOnes[] = "111111111111111111111111111111111111";
constexpr char kAlternating[] = "010101010101010101010101010101010101";
constexpr char kThirds[] = "100100100100100100100100100100100100";
constexpr char kMixed[] = "100001010100111000011011001111111110";

constexpr Check kChecks[] = {
    {"nk2", 1001, kZeros, 0.433762034202},
    {"nk2", 1001, kOnes, 0.501964621711},
    {"nk2", 1001, kAlternating, 0.560885735791},
    {"nk2", 1001, kThirds, 0.518244707228},
    {"nk2", 1001, kMixed, 0.433273999210},
    {"nk4", 1101, kZeros, 0.436226203683},
    {"nk4", 1101, kOnes, 0.514633880621},
    {"nk4", 1101, kAlternating, 0.405981142302},
    {"nk4", 1101, kThirds, 0.565415678498},
    {"nk4", 1101, kMixed, 0.567552083768},
    {"arch", 2001, kZeros, 0.081797224920},
    {"arch", 2001, kOnes, 0.074494319583},
    {"arch", 2001, kAlternating, 0.086666674352},
    {"arch", 2001, kThirds, 0.088902598283},
    {"arch", 2001, kMixed, 0.055700858496},
    {"arch", 2002, kZeros, 0.081797224920},
    {"arch", 2002, kOnes, 0.148700188034},
    {"arch", 2002, kAlternating, 0.078950741798},
    {"arch", 2002, kThirds, 0.137026909600},
    {"arch", 2002, kMixed, 0.090284725839},
    {"contam", 3001, kZeros, -33.78},
    {"contam", 3001, kOnes, -34.56},
    {"contam", 3001, kAlternating, -33.42},
    {"contam", 3001, kThirds, -34.87},
    {"contam", 3001, kMixed, -33.92},
    {"arch_r", 2001, "000000000000000000000000000000000000,0", 0.062896819694},
    {"arch_r", 2001, "111111111111111111111111111111111111,0", 0.033886262764},
    {"arch_r", 2001, "010101010101010101010101010101010101,0", 0.052287197127},
    {"arch_r", 2001, "100100100100100100100100100100100100,0", 0.041627071068},
    {"arch_r", 2001, "100001010100111000011011001111111110,0", 0.032107380930},
    {"arch_r", 2001, "000000000000000000000000000000000000,4", 0.057580762014},
    {"arch_r", 2001, "111111111111111111111111111111111111,4", 0.070895156841},
    {"arch_r", 2001, "010101010101010101010101010101010101,4", 0.071407274818},
    {"arch_r", 2001, "100100100100100100100100100100100100,4", 0.084821627277},
    {"arch_r", 2001, "100001010100111000011011001111111110,4", 0.044962685445},
};

struct Optimum {
  uint64_t instance;
  double value;
};
constexpr Optimum kArchOptima[] = {{2001, 0.270481081228},
                                   {2002, 0.304639448429},
                                   {2003, 0.257840932492},
                                   {2004, 0.314497628376},
                                   {2005, 0.239174104971}};
constexpr char kArchOptimum2001[] = "010000111111000000110100111011101110";

struct NoiseCheck {
  uint64_t seed, completed;
  double value;
};
constexpr NoiseCheck kNoise[] = {
    {0, 0, -1.883908333352}, {0, 1, -0.034267321792}, {3, 7, -1.417085112446}};

// Prints one line and counts the values that are off.
class Checker {
 public:
  explicit Checker(std::ostream& out) : out_(out) {}
  void Compare(const std::string& name, double found, double expected) {
    const bool good = std::abs(found - expected) <= 1e-10;
    out_ << absl::StrFormat("%s %-55s %.12f expected %.12f\n", good ? "ok  " : "FAIL", name, found,
                            expected);
    ++checked_;
    failed_ += !good;
  }
  absl::Status Result() const {
    out_ << absl::StrFormat("%d check values, %d off\n", checked_, failed_);
    if (failed_ == 0) return absl::OkStatus();
    return FailureError(failed_, " of ", checked_, " check values of the test problems are off");
  }

 private:
  std::ostream& out_;
  int checked_ = 0, failed_ = 0;
};

}  // namespace

absl::Status CheckBoProblems(std::ostream& out) {
  Checker checker(out);
  checker.Compare("splitmix64(1001) u", RandomStream(1001).Uniform(), 0.32516485265275463);
  for (const Check& check : kChecks) {
    MIXREC_ASSIGN_OR_RETURN(const bo_driver::Problem problem,
                            bo_driver::MakeProblem(check.problem, check.instance));
    MIXREC_ASSIGN_OR_RETURN(const bo_driver::Point point, problem.space.Parse(check.point));
    checker.Compare(StrCat(check.problem, ":", check.instance, " ", check.point),
                    problem.value(point), check.value);
  }
  for (const NoiseCheck& check : kNoise) {
    checker.Compare(StrCat("noise(", check.seed, ",", check.completed, ")"),
                    bo_driver::ObservationNoise(check.seed, check.completed), check.value);
  }
  for (const Optimum& optimum : kArchOptima) {
    const bo_driver::ArchOptimum found = bo_driver::SolveArch(optimum.instance);
    checker.Compare(StrCat("arch optimum ", optimum.instance), found.value, optimum.value);
    MIXREC_ASSIGN_OR_RETURN(const bo_driver::Problem problem,
                            bo_driver::MakeProblem("arch", optimum.instance));
    checker.Compare(StrCat("arch value there ", optimum.instance), problem.value(found.point),
                    optimum.value);
    if (optimum.instance == 2001) {
      checker.Compare("arch optimum 2001 is the listed point",
                      problem.space.Text(found.point) == kArchOptimum2001 ? 1 : 0, 1);
    }
  }
  return checker.Result();
}

}  // namespace mixrec::bench
