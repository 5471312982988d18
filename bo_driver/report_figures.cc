#include "bo_driver/report_figures.h"

#include <absl/strings/str_format.h>

#include <algorithm>
#include <cmath>

#include "bo_driver/study_definition.h"
#include "model/architecture.h"
#include "scheduler/lease.h"

namespace mixrec::bo_driver {
namespace {

using absl::StrFormat;
using scheduler::TrialRecord;
using scheduler::TrialState;

constexpr double kWidth = 760, kHeight = 300, kLeft = 70, kRight = 16, kTop = 16, kBottom = 44;
constexpr int kSites = model::kSitesPerLayer;
constexpr const char* kColumns[kSites] = {"causal expert", "context expert",
                                          "recommendation adapter"};
constexpr double kCellWidth = 170, kCellHeight = 30, kGridLeft = 80, kGridTop = 30;

// 1, 2 or 5 times a power of ten, so that about five steps cover `span`.
double NiceStep(double span) {
  const double raw = span / 5;
  const double power = std::pow(10, std::floor(std::log10(raw)));
  for (double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= raw) return factor * power;
  }
  return 10 * power;
}

// Maps trial numbers and scores to the drawing.
struct Axes {
  double low = 0, high = 1;
  int trials = 1;

  double X(int number) const { return kLeft + (kWidth - kLeft - kRight) * (number + 0.5) / trials; }
  double Y(double value) const {
    return kHeight - kBottom - (kHeight - kTop - kBottom) * (value - low) / (high - low);
  }
};

Axes AxesOf(const scheduler::StudyRecord& study) {
  Axes axes;
  axes.trials = std::max<int>(1, static_cast<int>(study.trials.size()));
  const auto ranked = study.Ranked();
  if (ranked.empty()) return axes;
  const auto [low, high] = std::minmax(*ranked.front()->value, *ranked.back()->value);
  const double margin = high > low ? 0.06 * (high - low) : std::max(1e-3, 0.1 * std::abs(high));
  axes.low = low - margin;
  axes.high = high + margin;
  return axes;
}

std::string Grid(const Axes& axes) {
  std::string svg;
  const double step = NiceStep(axes.high - axes.low);
  for (double tick = std::ceil(axes.low / step) * step; tick <= axes.high; tick += step) {
    svg += StrFormat("<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>",
                     kLeft, kWidth - kRight, axes.Y(tick), axes.Y(tick));
    svg += StrFormat("<text class=\"tick\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%.4g</text>\n",
                     kLeft - 8, axes.Y(tick) + 4, tick);
  }
  const int stride = std::max(1, (axes.trials + 9) / 10);
  for (int number = 0; number < axes.trials; number += stride) {
    svg +=
        StrFormat("<text class=\"tick\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%d</text>\n",
                  axes.X(number), kHeight - kBottom + 18, number);
  }
  svg += StrFormat("<text class=\"tick\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">trial</text>",
                   (kLeft + kWidth - kRight) / 2, kHeight - 6);
  svg += StrFormat(
      "<text class=\"tick\" text-anchor=\"middle\" transform=\"translate(14 %.1f) rotate(-90)\">"
      "score</text>\n",
      (kTop + kHeight - kBottom) / 2);
  return svg;
}

// The staircase of the best score so far.
std::string BestLine(const scheduler::StudyRecord& study, const Axes& axes) {
  std::string points;
  bool any = false;
  double best = 0;
  for (const TrialRecord& trial : study.trials) {
    const bool counts = trial.state == TrialState::kComplete && trial.value.has_value();
    if (counts && (!any || (study.maximise ? *trial.value > best : *trial.value < best))) {
      if (any) points += StrFormat("%.1f,%.1f ", axes.X(trial.number), axes.Y(best));
      best = *trial.value;
      any = true;
    }
    if (any) points += StrFormat("%.1f,%.1f ", axes.X(trial.number), axes.Y(best));
  }
  return any ? StrFormat("<polyline class=\"best\" points=\"%s\"/>\n", points) : "";
}

const char* DotClass(const std::string& source) {
  if (source == "baseline") return "dot baseline";
  if (source == "random") return "dot random";
  return "dot model";
}

std::string Dots(const scheduler::StudyRecord& study, const Axes& axes) {
  std::string svg;
  for (const TrialRecord& trial : study.trials) {
    const double x = axes.X(trial.number);
    const std::string source = trial.Text(kSourceAttribute);
    if (trial.state == TrialState::kComplete && trial.value) {
      svg += StrFormat(
          "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"4.5\"><title>trial %d: %.6f, %s, "
          "%s</title></circle>\n",
          DotClass(source), x, axes.Y(*trial.value), trial.number, *trial.value, Escaped(source),
          Escaped(trial.Text(kBitsAttribute)));
    } else if (trial.state == TrialState::kFailed) {
      const double y = kHeight - kBottom - 8;
      svg += StrFormat(
          "<path class=\"failed\" d=\"M%.1f %.1fl8 8m0 -8l-8 8\"><title>trial %d failed: "
          "%s</title></path>\n",
          x - 4, y - 4, trial.number, Escaped(trial.Text(scheduler::kReasonAttribute)));
    }
  }
  return svg;
}

// Open tag of a drawing that scales down with the page.
std::string Open(double width, double height, std::string_view label) {
  return StrFormat(
      "<svg role=\"img\" aria-label=\"%s\" viewBox=\"0 0 %.0f %.0f\" width=\"%.0f\" "
      "xmlns=\"http://www.w3.org/2000/svg\">\n",
      Escaped(label), width, height, width);
}

std::string OpenLayerGrid(int layers, std::string_view label) {
  std::string svg =
      Open(kGridLeft + kSites * kCellWidth + 4, kGridTop + layers * kCellHeight + 4, label);
  for (int site = 0; site < kSites; ++site) {
    svg += StrFormat("<text class=\"tick\" x=\"%.1f\" y=\"18\" text-anchor=\"middle\">%s</text>\n",
                     kGridLeft + (site + 0.5) * kCellWidth, kColumns[site]);
  }
  return svg;
}

// One cell with its text; the top layer is the first row.
std::string Cell(int layers, int layer, int site, std::string_view css, double opacity,
                 std::string_view text) {
  const double x = kGridLeft + site * kCellWidth;
  const double y = kGridTop + (layers - 1 - layer) * kCellHeight;
  std::string svg;
  if (site == 0) {
    svg +=
        StrFormat("<text class=\"tick\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">layer %d</text>",
                  kGridLeft - 10, y + 20, layer);
  }
  svg += StrFormat(
      "<rect class=\"cell\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" rx=\"3\"/>"
      "<rect class=\"%s\" fill-opacity=\"%.2f\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
      "height=\"%.1f\" rx=\"3\"/><text class=\"value\" x=\"%.1f\" y=\"%.1f\" "
      "text-anchor=\"middle\">%s</text>\n",
      x + 2, y + 2, kCellWidth - 4, kCellHeight - 4, Escaped(css), opacity, x + 2, y + 2,
      kCellWidth - 4, kCellHeight - 4, x + kCellWidth / 2, y + 20, Escaped(text));
  return svg;
}

}  // namespace

std::string Escaped(std::string_view text) {
  std::string escaped;
  for (char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

std::string HistoryFigure(const scheduler::StudyRecord& study) {
  const Axes axes = AxesOf(study);
  return Open(kWidth, kHeight, "Score of every trial and best so far") + Grid(axes) +
         BestLine(study, axes) + Dots(study, axes) + "</svg>\n";
}

std::string ArchitectureFigure(const std::string& bits) {
  const int layers = static_cast<int>(bits.size()) / kSites;
  std::string svg = OpenLayerGrid(layers, "The best architecture by layer");
  for (int layer = layers - 1; layer >= 0; --layer) {
    for (int site = 0; site < kSites; ++site) {
      const bool parallel = bits[static_cast<size_t>(layer * kSites + site)] == '1';
      svg += Cell(layers, layer, site, parallel ? "parallel" : "serial", parallel ? 0.85 : 0.3,
                  parallel ? "parallel" : "serial");
    }
  }
  return svg + "</svg>\n";
}

std::string EffectFigure(const std::vector<BitEffect>& effects) {
  const int layers = static_cast<int>(effects.size()) / kSites;
  double largest = 1e-12;
  for (const BitEffect& effect : effects) largest = std::max(largest, std::abs(effect.mean));
  std::string svg = OpenLayerGrid(layers, "Effect of each bit on the score");
  for (int layer = layers - 1; layer >= 0; --layer) {
    for (int site = 0; site < kSites; ++site) {
      const BitEffect& effect = effects[static_cast<size_t>(layer * kSites + site)];
      const bool clear = std::abs(effect.mean) > 2 * effect.standard_error;
      const double opacity = (clear ? 0.9 : 0.35) * std::abs(effect.mean) / largest;
      svg += Cell(layers, layer, site, effect.mean > 0 ? "parallel" : "serial", opacity,
                  StrFormat("%+.4f \xC2\xB1 %.4f", effect.mean, effect.standard_error));
    }
  }
  return svg + "</svg>\n";
}

}  // namespace mixrec::bo_driver
