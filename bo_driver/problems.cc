#include "bo_driver/problems.h"

#include <array>
#include <cmath>
#include <limits>
#include <memory>
#include <numeric>

namespace mixrec::bo_driver {
namespace {

constexpr int kBits = 36;
constexpr uint64_t kPrime = 0x100000001B3ull;

// Uniform in [-1, 1).
double Signed(RandomStream& stream) { return 2 * stream.Uniform() - 1; }

// --- NK landscapes
// --------------------------------------------------------------------------------
struct NkLandscape {
  int neighbours_each;
  std::vector<std::vector<int>> neighbours;  // [bits][K]
  std::vector<std::vector<double>> tables;   // [bits][2^(K+1)]

  NkLandscape(uint64_t instance, int k_neighbours) : neighbours_each(k_neighbours) {
    RandomStream stream(instance);
    for (int i = 0; i < kBits; ++i) {
      std::vector<int> pool(kBits);
      std::iota(pool.begin(), pool.end(), 0);
      pool.erase(pool.begin() + i);
      for (int k = 0; k < k_neighbours; ++k) {
        // The problem's definition draws with a plain modulo.
        const uint64_t r =
            static_cast<uint64_t>(k) + stream.Next() % static_cast<uint64_t>(kBits - 1 - k);
        std::swap(pool[static_cast<size_t>(k)], pool[r]);
      }
      neighbours.emplace_back(pool.begin(), pool.begin() + k_neighbours);
    }
    for (int i = 0; i < kBits; ++i) {
      tables.emplace_back(size_t{2} << k_neighbours);
      for (double& entry : tables.back()) entry = stream.Uniform();
    }
  }

  double operator()(const Point& x) const {
    double sum = 0;
    for (size_t i = 0; i < kBits; ++i) {
      size_t code = x[i];
      for (size_t k = 0; k < static_cast<size_t>(neighbours_each); ++k) {
        code += static_cast<size_t>(x[static_cast<size_t>(neighbours[i][k])]) << (k + 1);
      }
      sum += tables[i][code];
    }
    return sum / kBits;
  }
};

// --- arch: effects of bits, pairs within a layer and pairs of adjacent layers
// ---------------------
struct ArchModel {
  static constexpr int kLayers = 12, kSites = 3;
  static constexpr std::array<std::array<int, 2>, 3> kPairs = {{{0, 1}, {0, 2}, {1, 2}}};
  double a[kLayers][kSites], b[kLayers][kSites], c[kLayers - 1][kSites][kSites];

  explicit ArchModel(uint64_t instance) {
    RandomStream stream(instance);
    const auto scale = [](int layer) { return 0.5 + static_cast<double>(layer) / (kLayers - 1); };
    for (int l = 0; l < kLayers; ++l) {
      for (double& effect : a[l]) effect = scale(l) * 0.6 * Signed(stream);
    }
    for (int l = 0; l < kLayers; ++l) {
      for (double& effect : b[l]) effect = scale(l) * 0.5 * Signed(stream);
    }
    for (int l = 0; l + 1 < kLayers; ++l) {
      for (auto& row : c[l]) {
        for (double& effect : row) effect = scale(l) * 0.5 * Signed(stream);
      }
    }
  }

  static int Bit(int code, int site) { return code >> site & 1; }
  // Effects within a layer whose bits are `code`, bit j of the code being site j.
  double Layer(int l, int code) const {
    double sum = 0;
    for (int j = 0; j < kSites; ++j) sum += a[l][j] * Bit(code, j);
    for (size_t p = 0; p < kPairs.size(); ++p) {
      sum += b[l][p] * Bit(code, kPairs[p][0]) * Bit(code, kPairs[p][1]);
    }
    return sum;
  }
  double Between(int l, int low, int high) const {
    double sum = 0;
    for (int j = 0; j < kSites; ++j) {
      for (int k = 0; k < kSites; ++k) sum += c[l][j][k] * Bit(low, j) * Bit(high, k);
    }
    return sum;
  }
  static double Balance(int ones) {
    const double excess = ones / 36.0 - 0.5;
    return -3 * excess * excess;
  }
  static double Squash(double z) { return 0.35 / (1 + std::exp(-(z - 4) / 4)); }

  // The argument of Squash, without ordinal terms.
  double Sum(const Point& x) const {
    double sum = 0;
    int ones = 0, below = 0;
    for (int l = 0; l < kLayers; ++l) {
      int code = 0;
      for (int j = 0; j < kSites; ++j) code |= x[static_cast<size_t>(kSites * l + j)] << j;
      sum += Layer(l, code);
      if (l > 0) sum += Between(l - 1, below, code);
      ones += __builtin_popcount(static_cast<unsigned>(code));
      below = code;
    }
    return sum + Balance(ones);
  }
};

// --- contamination control
// ------------------------------------------------------------------------
struct Contamination {
  static constexpr size_t kSimulations = 100;
  std::vector<double> start;                      // [simulations]
  std::vector<std::vector<double>> spread, cure;  // [stages][simulations]

  explicit Contamination(uint64_t instance) {
    RandomStream stream(instance);
    const auto beta = [&](double b) {
      std::vector<double> draws(kSimulations);
      for (double& draw : draws) draw = 1 - std::pow(1 - stream.Uniform(), 1 / b);
      return draws;
    };
    start = beta(30);
    for (int i = 0; i < kBits; ++i) spread.push_back(beta(17.0 / 3));
    for (int i = 0; i < kBits; ++i) cure.push_back(beta(3.0 / 7));
  }

  double operator()(const Point& x) const {
    std::vector<double> share = start;
    double cost = 0;
    int ones = 0;
    for (size_t i = 0; i < kBits; ++i) {
      int below = 0;
      for (size_t s = 0; s < kSimulations; ++s) {
        share[s] = spread[i][s] * (1 - x[i]) * (1 - share[s]) + (1 - cure[i][s] * x[i]) * share[s];
        below += share[s] < 0.1;
      }
      cost += x[i] - (static_cast<double>(below) / kSimulations - 0.95);
      ones += x[i];
    }
    return -(cost + 0.01 * ones);
  }
};

}  // namespace

absl::StatusOr<Problem> MakeProblem(const std::string& name, uint64_t instance) {
  Problem problem{name, instance, SearchSpace{kBits, 3, {}}, 0, {}};
  if (name == "nk2" || name == "nk4") {
    problem.value = [nk = NkLandscape(instance, name == "nk2" ? 2 : 4)](const Point& x) {
      return nk(x);
    };
  } else if (name == "arch") {
    problem.noise = 0.01;
    problem.value = [arch = ArchModel(instance)](const Point& x) {
      return ArchModel::Squash(arch.Sum(x));
    };
  } else if (name == "arch_r") {
    problem.noise = 0.01;
    problem.space.ordinals = {EvenOrdinal("r", {1, 2, 3, 4, 6})};
    problem.value = [arch = ArchModel(instance),
                     values = problem.space.ordinals[0].values](const Point& x) {
      const double ratio = std::log2(values[x[kBits]]) - std::log2(3.0);
      double parallel = 0;
      for (size_t l = 0; l < ArchModel::kLayers; ++l) parallel += x[3 * l];
      parallel /= ArchModel::kLayers;
      return ArchModel::Squash(arch.Sum(x) - ratio * ratio + 1.5 * ratio * (parallel - 0.5));
    };
  } else if (name == "contam") {
    problem.value = [contamination = Contamination(instance)](const Point& x) {
      return contamination(x);
    };
  } else {
    return UsageError("unknown test problem \"", name,
                      "\": expected nk2, nk4, arch, arch_r or contam");
  }
  return problem;
}

uint64_t FirstInstance(const std::string& name) {
  if (name == "nk2") return 1001;
  if (name == "nk4") return 1101;
  if (name == "contam") return 3001;
  return 2001;
}

std::optional<Reference> FindReference(const std::string& name, uint64_t instance) {
  static constexpr Reference kNk2[] = {{0.4996, 0.770833},
                                       {0.4493, 0.696585},
                                       {0.5051, 0.759535},
                                       {0.4859, 0.715174},
                                       {0.5169, 0.748807}};
  static constexpr Reference kNk4[] = {{0.4994, 0.775423},
                                       {0.5003, 0.774222},
                                       {0.5081, 0.793430},
                                       {0.5105, 0.810830},
                                       {0.5010, 0.786127}};
  static constexpr Reference kArch[] = {{0.0885, 0.270481},
                                        {0.1155, 0.304639},
                                        {0.0662, 0.257841},
                                        {0.1381, 0.314498},
                                        {0.0743, 0.239174}};
  static constexpr Reference kContam[] = {{-33.9316, -31.16},
                                          {-34.0228, -31.36},
                                          {-33.8855, -30.87},
                                          {-33.7672, -30.99},
                                          {-33.8813, -31.33}};
  const uint64_t first = FirstInstance(name);
  if (instance < first || instance >= first + 5) return std::nullopt;
  const size_t i = instance - first;
  if (name == "nk2") return kNk2[i];
  if (name == "nk4") return kNk4[i];
  if (name == "arch") return kArch[i];
  if (name == "contam") return kContam[i];
  return std::nullopt;
}

ArchOptimum SolveArch(uint64_t instance) {
  constexpr int kCodes = 8, kLayers = ArchModel::kLayers;
  constexpr double kNone = -std::numeric_limits<double>::infinity();
  const ArchModel arch(instance);
  // best[l][code][ones]: largest sum of layers 0..l when layer l has `code` and `ones` bits are
  // set.
  std::vector<std::array<std::array<double, kBits + 1>, kCodes>> best(kLayers);
  std::vector<std::array<std::array<int, kBits + 1>, kCodes>> from(kLayers);
  for (auto& layer : best) {
    for (auto& row : layer) row.fill(kNone);
  }
  const auto ones_of = [](int code) { return __builtin_popcount(static_cast<unsigned>(code)); };
  for (int code = 0; code < kCodes; ++code) best[0][code][ones_of(code)] = arch.Layer(0, code);
  for (int l = 1; l < kLayers; ++l) {
    for (int code = 0; code < kCodes; ++code) {
      for (int below = 0; below < kCodes; ++below) {
        const double gain = arch.Layer(l, code) + arch.Between(l - 1, below, code);
        for (int ones = 0; ones + ones_of(code) <= kBits; ++ones) {
          const double sum = best[l - 1][below][ones] + gain;
          double& slot = best[l][code][ones + ones_of(code)];
          if (sum <= slot) continue;
          slot = sum;
          from[l][code][ones + ones_of(code)] = below;
        }
      }
    }
  }
  double top = kNone;
  int code = 0, ones = 0;
  for (int c = 0; c < kCodes; ++c) {
    for (int m = 0; m <= kBits; ++m) {
      const double sum = best[kLayers - 1][c][m] + ArchModel::Balance(m);
      if (sum > top) top = sum, code = c, ones = m;
    }
  }
  ArchOptimum optimum{ArchModel::Squash(top), Point(kBits, 0)};
  for (int l = kLayers - 1; l >= 0; --l) {
    for (int j = 0; j < 3; ++j) {
      optimum.point[static_cast<size_t>(3 * l + j)] = static_cast<uint8_t>(ArchModel::Bit(code, j));
    }
    const int below = from[l][code][ones];
    ones -= ones_of(code);
    code = below;
  }
  return optimum;
}

double ObservationNoise(uint64_t noise_seed, uint64_t completed) {
  return RandomStream(noise_seed * kPrime + completed).Normal();
}

double VirtualDuration(uint64_t noise_seed, uint64_t started) {
  return std::exp(0.3 * RandomStream(noise_seed * kPrime + (uint64_t{1} << 32) + started).Normal());
}

}  // namespace mixrec::bo_driver
