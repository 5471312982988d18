#include "bo_driver/report_tables.h"

#include <absl/strings/str_format.h>

#include <algorithm>
#include <vector>

#include "bo_driver/report_figures.h"
#include "bo_driver/study_definition.h"
#include "bo_driver/study_results.h"

namespace mixrec::bo_driver {
namespace {

using absl::StrFormat;
using scheduler::GroupView;
using scheduler::StudyView;
using scheduler::TrialRecord;
using scheduler::TrialState;

// All arguments are HTML.
std::string Tile(const std::string& name, const std::string& large, const std::string& small,
                 const std::string& css = "") {
  return StrCat("<div class=\"tile ", css, "\"><div class=\"name\">", name,
                "</div><div class=\"large\">", large, "</div><div class=\"small\">", small,
                "</div></div>\n");
}

std::string Bits(const std::string& bits, int layers) {
  const BitsPaths paths = DrawBits(bits, 0, 0.5, 1, 9);
  std::string svg =
      StrCat("<svg viewBox=\"0 0 ", 4 * layers,
             " 10\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"", Escaped(bits), "\">");
  for (int site = 0; site < 3; ++site) {
    svg += StrCat("<path class=\"serial ", kKinds[site], "\" d=\"", paths.serial[site],
                  "\"/><path class=\"parallel ", kKinds[site], "\" d=\"", paths.parallel[site],
                  "\"/>");
  }
  return svg + "</svg>";
}

std::string BestTile(const StudyView& view) {
  const TrialRecord* best = WinnerOf(view.study);
  if (best == nullptr) return Tile("best score", "\xE2\x80\x93", "no trial has finished", "best");
  const TrialResult result = ResultOf(view.study, *best);
  return Tile("best score", ScoreText(result.value),
              StrCat("trial ", best->number, MeanText(result),
                     Bits(best->Text(kBitsAttribute), LayersOf(*best))),
              "best");
}

std::string TrialsTile(const StudyView& view) {
  if (view.wanted <= 0) return Tile("finished trials", StrCat(view.finished), "");
  return Tile("finished trials",
              StrCat(view.finished, " <span class=\"small\">of ", view.wanted, "</span>"),
              StrFormat("<progress value=\"%d\" max=\"%d\"></progress>",
                        std::min(view.finished, view.wanted), view.wanted));
}

// A score, or what there is instead of one.
std::string ScoreCell(const TrialRecord& trial) {
  if (trial.value && trial.finished()) return ScoreText(*trial.value);
  return std::string(scheduler::TrialStateName(trial.state));
}

std::string ArchitectureRow(const TrialRecord& trial, const std::string& rank, bool leading,
                            int layers) {
  return StrCat("<tr data-trial=\"", trial.number, "\" data-title=\"", Escaped(TrialTitle(trial)),
                "\"", leading ? " class=\"leading\"" : "", "><td class=\"number rank\">", rank,
                "</td><td class=\"number trial\">", trial.number,
                "</td><td class=\"number score\">", ScoreCell(trial), "</td><td class=\"row\">",
                Bits(trial.Text(kBitsAttribute), layers), "</td><td class=\"by\">",
                Escaped(trial.Text(kSourceAttribute)), "</td></tr>\n");
}

std::string LayerHeadings(int layers) {
  std::string spans;
  const int stride = layers > 16 ? 4 : 1;
  for (int layer = 1; layer <= layers; ++layer) {
    const bool named = stride == 1 || layer % stride == 0;
    spans += StrCat("<span>", named ? StrCat(layer) : "", "</span>");
  }
  return StrCat("<div class=\"layers\">", spans, "</div>");
}

// What its trials are at.
std::string Doing(const StudyView& view, const GroupView& group, double now) {
  std::string doing;
  for (int number : group.trials) {
    const TrialRecord& trial = view.study.trials[static_cast<size_t>(number)];
    if (!doing.empty()) doing += "; ";
    doing += StrCat("<span data-trial=\"", number, "\">", TrialProgress(trial, now), "</span>");
  }
  if (!doing.empty()) return doing;
  return group.record.state == scheduler::GroupState::kAlive ? "waiting for a trial" : "";
}

}  // namespace

int AliveGroups(const StudyView& view) {
  return static_cast<int>(std::count_if(
      view.groups.begin(), view.groups.end(),
      [](const GroupView& group) { return group.record.state == scheduler::GroupState::kAlive; }));
}

std::string LastWord(const GroupView& group, double now) {
  if (group.silent_seconds) return StrCat(DurationText(*group.silent_seconds), " ago");
  const std::optional<double> at = scheduler::SecondsOf(group.record.at);
  if (!at || now <= 0 || group.record.state == scheduler::GroupState::kAlive) return "";
  return StrCat(DurationText(now - *at), " ago");
}

std::string SummaryTiles(const StudyView& view) {
  std::string tiles = StrCat("<div class=\"tiles\">\n", BestTile(view), TrialsTile(view));
  tiles += Tile("running", StrCat(view.running),
                view.waiting > 0 ? StrCat(view.waiting, " waiting for a group") : "");
  tiles += Tile("failed", StrCat(view.failed), StrCat(view.pruned, " stopped early"));
  if (!view.groups.empty()) {
    tiles += Tile("groups alive", StrCat(AliveGroups(view)),
                  StrCat(view.groups.size(), " since the start"));
  }
  if (view.status.phase == scheduler::StudyPhase::kRunning) {
    tiles += Tile("time left",
                  view.seconds_left ? StrCat("\xE2\x89\x88 ", DurationText(*view.seconds_left))
                                    : "\xE2\x80\x93",
                  "at the pace so far");
  }
  if (!view.status.reason.empty()) {
    tiles += Tile(scheduler::StudyPhaseName(view.status.phase), "", Escaped(view.status.reason));
  }
  return tiles + "</div>\n";
}

std::string ArchitectureRows(const StudyView& view) {
  const std::vector<const TrialRecord*> ranked = view.study.Ranked();
  int layers = 1;
  for (const TrialRecord& trial : view.study.trials) layers = std::max(layers, LayersOf(trial));
  std::string rows;
  const TrialRecord* winner = WinnerOf(view.study);
  int rank = 0;
  for (const TrialRecord* trial : ranked) {
    rows += ArchitectureRow(*trial, StrCat(++rank), trial == winner, layers);
  }
  for (const TrialRecord& trial : view.study.trials) {
    if (trial.state == TrialState::kComplete) continue;
    rows += ArchitectureRow(trial, "", false, layers);
  }
  if (rows.empty()) return "";
  return StrCat("<div class=\"rows\"><table class=\"bits\"><thead><tr><th class=\"number rank\">",
                "rank</th><th class=\"number trial\">trial</th><th class=\"number score\">score",
                "</th><th class=\"row\">", LayerHeadings(layers),
                "</th><th class=\"by\">suggested by</th></tr></thead>\n<tbody>\n", rows,
                "</tbody></table></div>\n");
}

std::string GroupRows(const StudyView& view, double now) {
  if (view.groups.empty()) return "";
  std::string rows;
  for (const GroupView& group : view.groups) {
    const std::string state = scheduler::GroupStateName(group.record.state);
    rows += StrCat("<tr><td class=\"wrap\">", Escaped(group.record.name),
                   "</td><td><span class=\"state ", state, "\">", state, "</span></td><td>",
                   Doing(view, group, now), "</td><td class=\"number\">", group.results,
                   "</td><td class=\"wrap spare\">", Escaped(group.record.host), ", ",
                   Escaped(group.record.device), "</td><td class=\"spare\">", group.record.slots,
                   " \xC3\x97 ", group.record.ranks, "</td><td class=\"number spare\">",
                   LastWord(group, now), "</td></tr>\n");
  }
  return StrCat(
      "<div class=\"scroll\"><table><tr><th>group</th><th>state</th><th>works on</th>",
      "<th class=\"number\">results</th><th class=\"spare\">where</th>",
      "<th class=\"spare\">slots \xC3\x97 ranks</th><th class=\"number spare\">last word</th>",
      "</tr>\n", rows, "</table></div>\n");
}

std::string FailureRows(const StudyView& view) {
  std::string rows;
  for (const TrialRecord& trial : view.study.trials) {
    if (trial.state != TrialState::kFailed) continue;
    rows += StrCat("<tr data-trial=\"", trial.number, "\"><td class=\"number\">", trial.number,
                   "</td><td class=\"wrap\"><code>", Escaped(trial.Text(kBitsAttribute)),
                   "</code></td><td class=\"wrap\">",
                   Escaped(trial.Text(scheduler::kReasonAttribute)), "</td></tr>\n");
  }
  if (rows.empty()) return "";
  return StrCat("<div class=\"scroll\"><table><tr><th class=\"number\">trial</th>",
                "<th>architecture</th><th>reason</th></tr>\n", rows, "</table></div>\n");
}

std::string SettingRows(const StudyView& view) {
  const auto found = view.study.attributes.find(kDefinitionAttribute);
  if (found == view.study.attributes.end() || !found->second.is_object()) return "";
  std::string rows;
  const auto add = [&rows](const std::string& key, const nlohmann::json& value) {
    rows += StrCat("<tr><td class=\"word\">", Escaped(key), "</td><td class=\"wrap\"><code>",
                   Escaped(value.is_string() ? value.get<std::string>() : value.dump()),
                   "</code></td></tr>\n");
  };
  for (const auto& [key, value] : found->second.items()) {
    if (!value.is_object()) {
      add(key, value);
      continue;
    }
    for (const auto& [inner, text] : value.items()) add(inner, text);
  }
  return StrCat("<div class=\"scroll\"><table>", rows, "</table></div>\n");
}

}  // namespace mixrec::bo_driver
