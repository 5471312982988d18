#include <absl/strings/str_format.h>

#include <algorithm>
#include <cmath>

#include "bo_driver/report_figures.h"
#include "bo_driver/study_definition.h"
#include "model/architecture.h"

namespace mixrec::bo_driver {
namespace {

using absl::StrFormat;
using scheduler::StudyView;
using scheduler::TrialRecord;

constexpr int kSites = model::kSitesPerLayer;
constexpr double kLayerUnits = 4;  // three bits and a gap

// Layers by kinds: where the cells lie.
struct Grid {
  int layers;
  double left, top, cell_width, cell_height;

  double X(int site) const { return left + site * cell_width; }
  double Y(int layer) const { return top + (layers - 1 - layer) * cell_height; }
  double Right() const { return X(kSites); }
};

Grid GridOf(int layers, double width) {
  const double left = width < kNarrow ? 26 : 68;
  return {layers, left, 30, (width - left - 4) / kSites, width < kNarrow ? 26.0 : 24.0};
}

double HeightOf(int layers, double width) {
  return 36 + layers * GridOf(layers, width).cell_height;
}

void Headings(const Grid& grid, Figure* figure) {
  constexpr const char* kShort[] = {"causal", "context", "recomm."};
  constexpr const char* kHeadings[] = {"causal expert", "context expert", "recommendation"};
  const bool narrow = grid.left < 40;
  for (int site = 0; site < kSites; ++site) {
    const double middle = grid.X(site) + grid.cell_width / 2;
    figure->Text(StrCat("heading ", kKinds[site]), middle, 18, Align::kMiddle,
                 narrow ? kShort[site] : kHeadings[site]);
  }
  for (int layer = 0; layer < grid.layers; ++layer) {
    figure->Text("tick", grid.left - 8, grid.Y(layer) + grid.cell_height / 2 + 4, Align::kRight,
                 narrow ? StrCat(layer + 1) : StrCat("layer ", layer + 1));
  }
}

// An estimate and two standard errors to both sides, on a line around zero.
void Whisker(const Axis& axis, double y, double mean, double error, const std::string& css,
             const std::string& title, Figure* figure) {
  const bool clear = std::abs(mean) > 2 * error;
  const std::string state = clear ? StrCat(css, " clear") : StrCat(css, " unclear");
  figure->Line(StrCat("whisker ", state), axis(mean - 2 * error), y, axis(mean + 2 * error), y);
  figure->Circle(StrCat("estimate ", state), axis(mean), y, 4.2, title);
}

std::string BitName(int bit) {
  return StrCat("layer ", bit / kSites + 1, " ", kKindNames[bit % kSites]);
}

double Reach(const std::vector<BitEffect>& effects) {
  double reach = 1e-12;
  for (const BitEffect& effect : effects) {
    reach = std::max(reach, std::abs(effect.mean) + 2 * effect.standard_error);
  }
  return reach;
}

// Share of parallel among the first `count` complete trials, bit by bit.
std::vector<double> Shares(const std::vector<const TrialRecord*>& ranked, size_t count,
                           size_t bits) {
  std::vector<double> shares(bits, 0), trials(bits, 0);
  for (size_t i = 0; i < count; ++i) {
    const std::string text = ranked[i]->Text(kBitsAttribute);
    for (size_t bit = 0; bit < std::min(bits, text.size()); ++bit) {
      shares[bit] += text[bit] == '1';
      ++trials[bit];
    }
  }
  for (size_t bit = 0; bit < bits; ++bit) shares[bit] /= std::max(1.0, trials[bit]);
  return shares;
}

}  // namespace

int LayersOf(const TrialRecord& trial) {
  return static_cast<int>(trial.Text(kBitsAttribute).size()) / kSites;
}

BitsPaths DrawBits(const std::string& bits, double left, double top, double unit, double height) {
  BitsPaths paths;
  const double width = 0.86 * unit, low = 0.22 * height;
  for (size_t bit = 0; bit < bits.size(); ++bit) {
    const size_t site = bit % kSites;
    const double layer = static_cast<double>(bit / kSites);
    const double x = left + unit * (kLayerUnits * layer + 0.5 + static_cast<double>(site));
    const bool parallel = bits[bit] == '1';
    const double tall = parallel ? height : low;
    (parallel ? paths.parallel : paths.serial)[site] += StrFormat(
        "M%.2f %.2fh%.2fv%.2fh%.2fz", x + 0.07 * unit, top + height - tall, width, tall, -width);
  }
  return paths;
}

Figure ArchitecturesFigure(const StudyView& view, double width) {
  const std::vector<const TrialRecord*> ranked = view.study.Ranked();
  int layers = 1;
  for (const TrialRecord* trial : ranked) layers = std::max(layers, LayersOf(*trial));
  const double left = 130, row = 17, top = 30;
  const double unit = (width - left - 6) / (kLayerUnits * layers);
  Figure figure(width, top + row * static_cast<double>(ranked.size()) + 6,
                "Every architecture by layer, best first");
  figure.Text("tick", 42, 18, Align::kRight, "trial");
  figure.Text("tick", left - 14, 18, Align::kRight, "score");
  for (int layer = 0; layer < layers; ++layer) {
    figure.Text("tick", left + unit * kLayerUnits * (layer + 0.5), 18, Align::kMiddle,
                StrCat(layer + 1));
  }
  double y = top;
  for (const TrialRecord* trial : ranked) {
    const BitsPaths paths = DrawBits(trial->Text(kBitsAttribute), left, y, unit, row - 5);
    figure.BeginTrial(trial->number);
    figure.Text("value", 42, y + 11, Align::kRight, StrCat(trial->number));
    figure.Text("value", left - 14, y + 11, Align::kRight, ScoreText(*trial->value));
    for (int site = 0; site < kSites; ++site) {
      figure.Path(StrCat("serial ", kKinds[site]), paths.serial[site]);
      figure.Path(StrCat("parallel ", kKinds[site]), paths.parallel[site]);
    }
    figure.EndTrial();
    y += row;
  }
  return figure;
}

Figure EffectsFigure(const StudyModel& model, double width) {
  const int layers = static_cast<int>(model.effects.size()) / kSites;
  Figure figure(width, HeightOf(layers, width) + 24, "Effect of each bit on the score");
  const Grid grid = GridOf(layers, width);
  const double reach = Reach(model.effects);
  Headings(grid, &figure);
  for (int site = 0; site < kSites; ++site) {
    const Axis axis(-reach, reach, grid.X(site) + 7, grid.X(site) + grid.cell_width - 7);
    const double bottom = grid.Y(0) + grid.cell_height;
    figure.Line("axis", axis(0), grid.top, axis(0), bottom);
    if (width >= kNarrow) figure.Text("tick", axis(0), bottom + 18, Align::kMiddle, "0");
    figure.Text("tick", axis.to() + 4, bottom + 18, Align::kRight, StrFormat("+%.2g", reach));
    for (int layer = 0; layer < layers; ++layer) {
      const int bit = layer * kSites + site;
      const BitEffect& effect = model.effects[static_cast<size_t>(bit)];
      figure.Rectangle("cell", grid.X(site) + 2, grid.Y(layer) + 1.5, grid.cell_width - 4,
                       grid.cell_height - 3);
      Whisker(
          axis, grid.Y(layer) + grid.cell_height / 2, effect.mean, effect.standard_error,
          kKinds[site],
          StrFormat("%s: %+.5f \xC2\xB1 %.5f", BitName(bit), effect.mean, effect.standard_error),
          &figure);
    }
  }
  return figure;
}

int BestCount(const StudyView& view) {
  if (view.complete < 4) return 0;
  return std::clamp(view.complete / 4, 2, 20);
}

Figure FrequencyFigure(const StudyView& view, double width) {
  const std::vector<const TrialRecord*> ranked = view.study.Ranked();
  int layers = 1;
  for (const TrialRecord* trial : ranked) layers = std::max(layers, LayersOf(*trial));
  Figure figure(width, HeightOf(layers, width), "How often each bit is parallel");
  const Grid grid = GridOf(layers, width);
  const size_t bits = static_cast<size_t>(layers * kSites);
  const std::vector<double> among_best = Shares(ranked, static_cast<size_t>(BestCount(view)), bits),
                            among_all = Shares(ranked, ranked.size(), bits);
  Headings(grid, &figure);
  for (int bit = 0; bit < static_cast<int>(bits); ++bit) {
    const int layer = bit / kSites, site = bit % kSites;
    // The number stands beside the bar, which may be of any length.
    const double x = grid.X(site) + 2, y = grid.Y(layer) + 1.5, room = grid.cell_width - 52;
    const double best = among_best[static_cast<size_t>(bit)],
                 all = among_all[static_cast<size_t>(bit)];
    figure.Rectangle("cell", x, y, room, grid.cell_height - 3);
    figure.Rectangle(StrCat("share ", kKinds[site]), x, y, room * best, grid.cell_height - 3,
                     StrFormat("%s: parallel in %.0f %% of the best, %.0f %% of all", BitName(bit),
                               100 * best, 100 * all));
    figure.Line("all", x + room * all, y - 1, x + room * all, y + grid.cell_height - 2);
    figure.Text("value", x + room + 46, y + grid.cell_height / 2 + 3, Align::kRight,
                StrFormat("%.0f %%", 100 * best));
  }
  return figure;
}

Figure InteractionsFigure(const StudyModel& model, double width) {
  const bool narrow = width < kNarrow;
  const double row = narrow ? 38 : 24, top = 8, left = narrow ? 8 : 250;
  const double bottom = top + row * static_cast<double>(model.interactions.size());
  Figure figure(width, bottom + 42, "Pairs of bits that change each other's effect");
  double reach = 1e-12;
  for (const Interaction& pair : model.interactions) {
    reach = std::max(reach, std::abs(pair.mean) + 2 * pair.standard_error);
  }
  const Axis axis(-reach, reach, left + 6, width - 8);
  figure.HorizontalAxis(axis, bottom + 4, "more than the sum of both", 4);
  figure.Line("axis", axis(0), top, axis(0), bottom + 4);
  constexpr const char* kShort[] = {"causal", "context", "recomm."};
  double y = top;
  for (const Interaction& pair : model.interactions) {
    const std::string name =
        StrCat("layer ", pair.first / kSites + 1, " ", kShort[pair.first % kSites], " \xC3\x97 ",
               "layer ", pair.second / kSites + 1, " ", kShort[pair.second % kSites]);
    if (narrow) {
      figure.Text("value", left, y + 13, Align::kLeft, name);
    } else {
      figure.Text("value", left - 8, y + row / 2 + 4, Align::kRight, name);
    }
    Whisker(axis, narrow ? y + 25 : y + row / 2, pair.mean, pair.standard_error, "pair",
            StrFormat("%s: %+.5f \xC2\xB1 %.5f", name, pair.mean, pair.standard_error), &figure);
    y += row;
  }
  return figure;
}

}  // namespace mixrec::bo_driver
