#include "bo_driver/report.h"

#include "bo_driver/report_figures.h"
#include "bo_driver/report_files.h"
#include "bo_driver/study_results.h"
#include "common/file.h"

namespace mixrec::bo_driver {

using scheduler::StudyRecord;
using scheduler::StudyView;
using scheduler::TrialRecord;

std::string PageTitle(const StudyView& view) {
  std::string title;
  const TrialRecord* best = WinnerOf(view.study);
  if (best != nullptr) title = StrCat(ScoreText(ResultOf(view.study, *best).value), ", ");
  title += StrCat(view.finished, view.wanted > 0 ? StrCat(" of ", view.wanted) : "", ", ");
  return StrCat(title, view.study.name);
}

std::string RenderPage(const StudyView& view, const std::vector<ReportSection>& sections,
                       int period_seconds) {
  const std::string phase = scheduler::StudyPhaseName(view.status.phase);
  std::string html =
      StrCat("<!DOCTYPE html>\n<html lang=\"en\" data-period=\"", period_seconds,
             "\"><head><meta charset=\"utf-8\">\n<meta name=\"viewport\" ",
             "content=\"width=device-width, initial-scale=1\">\n<title>", Escaped(PageTitle(view)),
             "</title>\n<link rel=\"icon\" href=\"data:,\">\n<style>\n", figure_css, report_css,
             "</style></head>\n<body>\n<header><h1>Architecture search: ", Escaped(view.study.name),
             "</h1><span id=\"state\" class=\"state ", phase, "\">", phase,
             "</span><span id=\"freshness\"></span></header>\n<main>\n");
  for (const ReportSection& section : sections) {
    html += StrCat("<section id=\"", section.id, "\" data-hash=\"", ContentHash(section.html), "\"",
                   section.full ? " class=\"full\"" : "", section.html.empty() ? " hidden" : "",
                   ">", section.html, "</section>\n");
  }
  return StrCat(
      html, "</main>\n<div id=\"detail\" role=\"status\" hidden></div>\n<footer>Click a trial ",
      "to find it everywhere.</footer>\n<script>\n", report_js, "</script>\n</body></html>\n");
}

namespace {

// A study of one process has no status; its report is written when that ends.
StudyView ViewAtTheEnd(const StudyRecord& study) {
  StudyView view = scheduler::ViewOf(study);
  if (scheduler::StatusOf(study)) return view;
  const bool over = view.running + view.waiting == 0;
  view.status.phase = over ? scheduler::StudyPhase::kFinished : scheduler::StudyPhase::kStopped;
  return view;
}

}  // namespace

std::string RenderReport(const StudyRecord& study) {
  const StudyView view = ViewAtTheEnd(study);
  return RenderPage(view, ReportSections(view, ModelOf(study), /*now=*/0), /*period_seconds=*/0);
}

namespace {

absl::Status WriteFigures(const StudyView& view, const StudyModel& model,
                          const std::string& folder) {
  constexpr double kWide = 1000, kHalf = 640;
  std::vector<std::pair<std::string, Figure>> figures = {
      {"history", HistoryFigure(view, kWide)},
      {"architectures", ArchitecturesFigure(view, kHalf)},
      {"curves", CurvesFigure(view, kHalf)},
      {"timeline", TimelineFigure(view, /*now=*/0, kWide)}};
  if (BestCount(view) > 0) figures.emplace_back("frequency", FrequencyFigure(view, kHalf));
  if (model.fitted()) {
    figures.emplace_back("effects", EffectsFigure(model, kHalf));
    figures.emplace_back("interactions", InteractionsFigure(model, kHalf));
    figures.emplace_back("prediction", LeaveOneOutFigure(model, kHalf));
  }
  MIXREC_RETURN_IF_ERROR(MakeFolder(folder));
  for (const auto& [name, figure] : figures) {
    MIXREC_RETURN_IF_ERROR(
        WriteFileAtomic(StrCat(folder, "/", name, ".svg"), figure.StandaloneSvg(figure_css)));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status WriteReportFiles(const StudyRecord& study, const std::string& folder) {
  const StudyView view = ViewAtTheEnd(study);
  const StudyModel model = ModelOf(study);
  MIXREC_RETURN_IF_ERROR(WriteFigures(view, model, folder + "/figures"));
  MIXREC_RETURN_IF_ERROR(
      WriteFileAtomic(folder + "/report.html",
                      RenderPage(view, ReportSections(view, model, /*now=*/0), /*period=*/0)));
  return WriteFileAtomic(folder + "/trials.csv", TrialsCsv(study));
}

absl::Status WriteStudyReport(const std::string& folder) {
  MIXREC_ASSIGN_OR_RETURN(const StudyRecord study,
                          scheduler::ReadJournal(folder + "/study.journal"));
  return WriteReportFiles(study, folder);
}

}  // namespace mixrec::bo_driver
