#include "bo_driver/report.h"

#include <absl/strings/str_format.h>

#include <cmath>
#include <vector>

#include "bo_driver/report_figures.h"
#include "bo_driver/study_definition.h"
#include "common/file.h"
#include "scheduler/lease.h"

namespace mixrec::bo_driver {
namespace {

using absl::StrFormat;
using scheduler::StudyRecord;
using scheduler::TrialRecord;
using scheduler::TrialState;

constexpr size_t kBestRows = 15;

constexpr char kStyle[] = R"css(
:root { color-scheme: light dark; --ink: #1f2933; --quiet: #66727f; --line: #d9dee3; --page: #ffffff;
  --parallel: #e08a2e; --serial: #3f7fbf; --best: #2f9e6e; --bad: #c8453b; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ec; --quiet: #9aa5b1; --line: #39424c; --page: #171b20; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page);
  max-width: 820px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p.note { color: var(--quiet); margin: .2rem 0 .6rem; }
svg { max-width: 100%; height: auto; font: 12px system-ui, sans-serif; }
svg .grid { stroke: var(--line); } svg .tick { fill: var(--quiet); } svg .value { fill: var(--ink); }
svg .best { fill: none; stroke: var(--best); stroke-width: 2; }
svg .dot { stroke: var(--page); } svg .baseline { fill: var(--ink); }
svg .random { fill: var(--quiet); } svg .model { fill: var(--parallel); }
svg .failed { fill: none; stroke: var(--bad); stroke-width: 2; }
svg .cell { fill: none; stroke: var(--line); }
svg .parallel { fill: var(--parallel); } svg .serial { fill: var(--serial); }
.key { display: inline-block; width: .75em; height: .75em; border-radius: 50%; margin: 0 .3em 0 1em; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .2rem .9rem .2rem 0; border-bottom: 1px solid var(--line); }
th { color: var(--quiet); font-weight: 600; } td.number { text-align: right; }
code { font: 13px ui-monospace, monospace; }
)css";

std::string Key(const char* color, const char* text) {
  return StrFormat("<span class=\"key\" style=\"background:var(--%s)\"></span>%s", color, text);
}

std::string Seconds(const TrialRecord& trial) {
  const std::optional<double> seconds = trial.Number(scheduler::kSecondsAttribute);
  return seconds ? StrFormat("%.1f", *seconds) : "";
}

std::string Summary(const StudyRecord& study) {
  int complete = 0, failed = 0, running = 0;
  for (const TrialRecord& trial : study.trials) {
    complete += trial.state == TrialState::kComplete;
    failed += trial.state == TrialState::kFailed;
    running += !trial.finished();
  }
  std::string html = StrFormat("<p class=\"note\">%d trials complete, %d failed, %d running",
                               complete, failed, running);
  const auto ranked = study.Ranked();
  if (!ranked.empty()) {
    html +=
        StrFormat("; best score %.6f in trial %d", *ranked.front()->value, ranked.front()->number);
  }
  return html + "</p>\n";
}

std::string BestTrials(const StudyRecord& study) {
  const auto ranked = study.Ranked();
  if (ranked.empty()) return "";
  std::string html =
      "<h2>Best trials</h2>\n<div class=\"scroll\"><table><tr><th>rank</th><th>trial</th>"
      "<th>score</th><th>architecture</th><th>suggested by</th><th>acquisition</th>"
      "<th>seconds</th></tr>\n";
  for (size_t i = 0; i < std::min(kBestRows, ranked.size()); ++i) {
    const TrialRecord& trial = *ranked[i];
    const std::optional<double> acquisition = trial.Number(kAcquisitionAttribute);
    html += StrFormat(
        "<tr><td class=\"number\">%d</td><td class=\"number\">%d</td><td class=\"number\">%.6f</td>"
        "<td><code>%s</code></td><td>%s</td><td class=\"number\">%s</td>"
        "<td class=\"number\">%s</td></tr>\n",
        i + 1, trial.number, *trial.value, Escaped(trial.Text(kBitsAttribute)),
        Escaped(trial.Text(kSourceAttribute)), acquisition ? StrFormat("%.3f", *acquisition) : "",
        Seconds(trial));
  }
  return html + "</table></div>\n";
}

std::string FailedTrials(const StudyRecord& study) {
  std::string rows;
  for (const TrialRecord& trial : study.trials) {
    if (trial.state != TrialState::kFailed) continue;
    rows += StrFormat("<tr><td class=\"number\">%d</td><td><code>%s</code></td><td>%s</td></tr>\n",
                      trial.number, Escaped(trial.Text(kBitsAttribute)),
                      Escaped(trial.Text(scheduler::kReasonAttribute)));
  }
  if (rows.empty()) return "";
  return StrCat("<h2>Failed trials</h2>\n<div class=\"scroll\"><table><tr><th>trial</th>",
                "<th>architecture</th><th>reason</th></tr>\n", rows, "</table></div>\n");
}

// Difference of the mean scores with and without each bit; bits that never changed are left at 0.
std::vector<BitEffect> MeanDifferences(const StudyRecord& study) {
  std::vector<BitEffect> effects;
  const auto ranked = study.Ranked();
  if (ranked.empty()) return effects;
  for (size_t bit = 0; bit < ranked.front()->Text(kBitsAttribute).size(); ++bit) {
    double count[2] = {0, 0}, sum[2] = {0, 0}, squares[2] = {0, 0};
    for (const TrialRecord* trial : ranked) {
      const int side = trial->Text(kBitsAttribute)[bit] == '1';
      ++count[side];
      sum[side] += *trial->value;
      squares[side] += *trial->value * *trial->value;
    }
    BitEffect effect;
    if (count[0] > 1 && count[1] > 1) {
      effect.mean = sum[1] / count[1] - sum[0] / count[0];
      double variance = 0;
      for (int side : {0, 1}) {
        const double spread = squares[side] - sum[side] * sum[side] / count[side];
        variance += std::max(spread, 0.0) / (count[side] - 1) / count[side];
      }
      effect.standard_error = std::sqrt(variance);
    }
    effects.push_back(effect);
  }
  return effects;
}

std::string Effects(const StudyRecord& study) {
  std::vector<BitEffect> effects;
  std::string note = "posterior mean of the surrogate, \xC2\xB1 its standard deviation";
  const absl::StatusOr<Driver> driver = ReplayStudy(study);
  if (driver.ok()) {
    effects = driver->BitEffects();
    const ModelSummary model = driver->Summary();
    if (model.fitted) {
      note += StrFormat("; kernel %s, leave-one-out R<sup>2</sup> %.2f", model.kernel,
                        model.leave_one_out_r2);
      if (model.explains_nothing()) note += " (below 0: it explains nothing yet)";
    }
  }
  if (effects.empty()) {
    effects = MeanDifferences(study);
    note = "difference of the mean scores, \xC2\xB1 its standard error";
  }
  if (effects.empty()) return "";
  return StrCat("<h2>Effect of parallel instead of serial</h2>\n<p class=\"note\">", note,
                "; strong colour: beyond two of them</p>\n", EffectFigure(effects));
}

std::string Settings(const StudyRecord& study) {
  const auto found = study.attributes.find(kDefinitionAttribute);
  if (found == study.attributes.end()) return "";
  std::string rows;
  const auto add = [&rows](const std::string& key, const nlohmann::json& value) {
    rows += StrFormat("<tr><td>%s</td><td><code>%s</code></td></tr>\n", Escaped(key),
                      Escaped(value.is_string() ? value.get<std::string>() : value.dump()));
  };
  for (const auto& [key, value] : found->second.items()) {
    if (!value.is_object()) {
      add(key, value);
      continue;
    }
    for (const auto& [inner, text] : value.items()) add(inner, text);
  }
  return StrCat("<h2>What was searched</h2>\n<div class=\"scroll\"><table>", rows,
                "</table></div>\n");
}

}  // namespace

std::string RenderReport(const StudyRecord& study) {
  const std::string name = Escaped(study.name);
  std::string html = StrCat(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>", name,
      ": architecture search</title>\n<meta name=\"viewport\" content=\"width=device-width\">\n",
      "<style>", kStyle, "</style></head><body>\n<h1>Architecture search: ", name, "</h1>\n",
      Summary(study));
  html += StrCat("<h2>History</h2>\n<p class=\"note\">", Key("best", "best so far"),
                 Key("ink", "baseline"), Key("quiet", "random"), Key("parallel", "by the search"),
                 "</p>\n", HistoryFigure(study));
  const auto ranked = study.Ranked();
  if (!ranked.empty()) {
    const std::string bits = ranked.front()->Text(kBitsAttribute);
    html += StrCat("<h2>Best architecture</h2>\n<p class=\"note\"><code>", Escaped(bits),
                   "</code></p>\n", ArchitectureFigure(bits));
  }
  html += Effects(study);
  html += BestTrials(study);
  html += FailedTrials(study);
  html += Settings(study);
  return html + "</body></html>\n";
}

absl::Status WriteReportFiles(const StudyRecord& study, const std::string& folder) {
  MIXREC_RETURN_IF_ERROR(WriteFileAtomic(folder + "/report.html", RenderReport(study)));
  return WriteFileAtomic(folder + "/trials.csv", TrialsCsv(study));
}

absl::Status WriteStudyReport(const std::string& folder) {
  MIXREC_ASSIGN_OR_RETURN(const StudyRecord study,
                          scheduler::ReadJournal(folder + "/study.journal"));
  return WriteReportFiles(study, folder);
}

}  // namespace mixrec::bo_driver
