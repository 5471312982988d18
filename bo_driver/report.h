// What a study found, for people and for programs: one page that is a live view while a server
// refreshes its parts and a report when it is written to a file; tables and figures as files; JSON.
//
// The page is self-contained: inline styles, script and SVG, nothing fetched from elsewhere. It is
// readable without its script, in grey, in light and dark, and on a phone.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bo_driver/study_model.h"
#include "common/status.h"
#include "scheduler/journal.h"
#include "scheduler/study_view.h"

namespace mixrec::bo_driver {

// A part of the page; empty HTML: nothing to show yet.
struct ReportSection {
  std::string id;
  bool full = false;  // as wide as the page; others stand two beside each other
  std::string html;
};

// Summary, history, architectures, effects, interactions, frequency, prediction, curves, groups,
// failures, settings; always all of them, in this order. `now`: seconds since 1970, what goes on
// ends there; 0: the last thing that the journal knows.
std::vector<ReportSection> ReportSections(const scheduler::StudyView& view, const StudyModel& model,
                                          double now);

// The page of these sections. `period_seconds` > 0: a live page, which asks its server for
// "api/study" that often and for "section/ID" where the hash has changed.
std::string RenderPage(const scheduler::StudyView& view, const std::vector<ReportSection>& sections,
                       int period_seconds);
// Title of the page's window: "0.3141, 17 of 30, name".
std::string PageTitle(const scheduler::StudyView& view);

// The page as a report.
std::string RenderReport(const scheduler::StudyRecord& study);

// What `mixrec status --json` and "api/study" say (docs/groups.md). `model` null: without it.
nlohmann::json StudyJson(const scheduler::StudyView& view, const StudyModel* model);

// What `mixrec status` prints: how far it is, the best trials, what the groups do, what failed.
// `now` as in ReportSections.
std::string StudyText(const scheduler::StudyView& view, double now);

// One line a trial: number,state,value,seconds,source,acquisition,architecture,started,completed,
// reason.
std::string TrialsCsv(const scheduler::StudyRecord& study);

// Writes FOLDER/report.html, FOLDER/trials.csv and the figures FOLDER/figures/NAME.svg.
absl::Status WriteReportFiles(const scheduler::StudyRecord& study, const std::string& folder);

// The same, of FOLDER/study.journal.
absl::Status WriteStudyReport(const std::string& folder);

}  // namespace mixrec::bo_driver
