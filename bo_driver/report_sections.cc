#include <absl/strings/str_format.h>

#include <algorithm>
#include <functional>

#include "bo_driver/report.h"
#include "bo_driver/report_figures.h"
#include "bo_driver/report_tables.h"

namespace mixrec::bo_driver {
namespace {

using absl::StrFormat;
using scheduler::StudyView;
using scheduler::TrialRecord;

constexpr double kFullWidth = 1080, kHalfWidth = 510, kTabletWidth = 700, kPhoneWidth = 320;

// The figure for every kind of screen; the styles show one of them.
std::string Drawn(const std::function<Figure(double)>& draw, bool full) {
  std::string html =
      StrCat("<div class=\"wide\">", draw(full ? kFullWidth : kHalfWidth).Svg(), "</div>");
  if (full) html += StrCat("<div class=\"medium\">", draw(kTabletWidth).Svg(), "</div>");
  return StrCat(html, "<div class=\"narrow\">", draw(kPhoneWidth).Svg(), "</div>\n");
}

std::string Heading(std::string_view title, std::string_view note) {
  return StrCat("<h2>", title, "</h2>\n<p class=\"note\">", note, "</p>\n");
}

// A mark as the figures draw it, and what it means.
std::string Key(std::string_view mark, std::string_view meaning) {
  return StrCat("<span class=\"key\"><svg viewBox=\"0 0 16 16\" aria-hidden=\"true\">", mark,
                "</svg>", meaning, "</span>");
}

std::string KindKeys() {
  std::string keys;
  for (int site = 0; site < 3; ++site) {
    keys += Key(StrCat("<path class=\"parallel ", kKinds[site], "\" d=\"M3 1h10v14h-10z\"/>"),
                kKindNames[site]);
  }
  return keys;
}

std::string History(const StudyView& view) {
  const std::string note =
      StrCat(Key("<path class=\"best-line\" d=\"M0 12h8v-8h8\"/>", "best so far"),
             Key("<rect class=\"dot given\" x=\"3\" y=\"3\" width=\"10\" height=\"10\"/>", "given"),
             Key("<circle class=\"dot random\" cx=\"8\" cy=\"8\" r=\"5\"/>", "random"),
             Key("<circle class=\"dot chosen\" cx=\"8\" cy=\"8\" r=\"5.5\"/>", "by the search"),
             Key("<path class=\"pruned\" d=\"M2 8h12\"/>", "stopped early"),
             Key("<path class=\"failed\" d=\"M3 3l10 10m0 -10l-10 10\"/>", "failed"),
             Key("<circle class=\"running\" cx=\"8\" cy=\"8\" r=\"5\"/>", "running"));
  return Heading("History", note) +
         Drawn([&](double width) { return HistoryFigure(view, width); }, true);
}

std::string Architectures(const StudyView& view) {
  const std::string rows = ArchitectureRows(view);
  if (rows.empty()) return "";
  const std::string note =
      StrCat(KindKeys(), Key("<path class=\"parallel any\" d=\"M3 1h10v14h-10z\"/>", "parallel"),
             Key("<path class=\"serial\" d=\"M3 12h10v3h-10z\"/>", "serial"),
             "<br>Layers from left (nearest the input) to right; best score first.");
  return Heading("Architectures", note) + rows;
}

std::string Effects(const StudyModel& model) {
  if (!model.fitted()) {
    return Heading("Which bits matter", "The surrogate needs four complete trials first.");
  }
  std::string note = StrFormat(
      "Effect of parallel instead of serial on the score, as the Gaussian process sees it (kernel "
      "%s), \xC2\xB1 two standard deviations. Right of zero: parallel is better. Filled: clear of "
      "zero.",
      model.summary.kernel);
  if (model.summary.explains_nothing()) {
    note += " <strong>It predicts nothing yet: do not rely on this.</strong>";
  }
  return Heading("Which bits matter", note) +
         Drawn([&](double width) { return EffectsFigure(model, width); }, false);
}

std::string Interactions(const StudyModel& model) {
  if (model.interactions.empty()) return "";
  return Heading("Which bits depend on each other",
                 "The strongest pairs: what both parallel are worth beyond the sum of their "
                 "effects, around the best trials, \xC2\xB1 two standard deviations.") +
         Drawn([&](double width) { return InteractionsFigure(model, width); }, false);
}

std::string Frequency(const StudyView& view) {
  const int count = BestCount(view);
  if (count == 0) return "";
  return Heading("Bits among the best",
                 StrFormat("How often a bit is parallel in the best %d trials; the line marks all "
                           "complete ones.",
                           count)) +
         Drawn([&](double width) { return FrequencyFigure(view, width); }, false);
}

std::string PredictionPart(const StudyModel& model) {
  if (!model.fitted()) return "";
  return Heading("How well the surrogate predicts",
                 StrFormat("Each trial from all others, \xC2\xB1 two standard deviations; "
                           "leave-one-out R\xC2\xB2 %.2f.",
                           model.summary.leave_one_out_r2)) +
         Drawn([&](double width) { return LeaveOneOutFigure(model, width); }, false);
}

std::string Curves(const StudyView& view) {
  const bool any =
      std::any_of(view.study.trials.begin(), view.study.trials.end(),
                  [](const TrialRecord& trial) { return !trial.intermediate_values.empty(); });
  if (!any) return "";
  const std::string note =
      StrCat(Key("<path class=\"curve leading\" d=\"M0 12L16 4\"/>", "best trial"),
             Key("<path class=\"curve open\" d=\"M0 12L16 4\"/>", "running"),
             Key("<path class=\"curve cut\" d=\"M0 12L16 4\"/>", "stopped early or failed"));
  return Heading("Scores by epoch", note) +
         Drawn([&](double width) { return CurvesFigure(view, width); }, false);
}

std::string Groups(const StudyView& view, double now) {
  if (view.study.trials.empty() && view.groups.empty()) return "";
  const auto work = [](const char* css) {
    return StrCat("<rect class=\"work ", css, "\" x=\"1\" y=\"3\" width=\"14\" height=\"10\"/>");
  };
  std::string note =
      StrCat(Key(work("complete"), "complete"), Key(work("running-work"), "running"),
             Key(work("pruned-work"), "stopped early"), Key(work("failed-work"), "failed"));
  if (!view.groups.empty()) note += Key(work("lost"), "lost or given back, another went on");
  std::string html = Heading(view.groups.empty() ? "Time" : "Groups", note);
  html += GroupRows(view, now);
  if (view.study.trials.empty()) return html;
  return html + Drawn([&](double width) { return TimelineFigure(view, now, width); }, true);
}

std::string Titled(std::string_view title, const std::string& rows) {
  return rows.empty() ? "" : StrCat("<h2>", title, "</h2>\n", rows);
}

}  // namespace

std::vector<ReportSection> ReportSections(const StudyView& view, const StudyModel& model,
                                          double now) {
  return {{"summary", true, SummaryTiles(view)},
          {"history", true, History(view)},
          {"architectures", true, Architectures(view)},
          {"effects", false, Effects(model)},
          {"frequency", false, Frequency(view)},
          {"interactions", false, Interactions(model)},
          {"prediction", false, PredictionPart(model)},
          {"curves", false, Curves(view)},
          {"failures", false, Titled("Failed trials", FailureRows(view))},
          {"groups", true, Groups(view, now)},
          {"settings", true, Titled("What was searched", SettingRows(view))}};
}

}  // namespace mixrec::bo_driver
