// What a study found, as files that need no server: a self-contained HTML page and a CSV table.
#pragma once

#include <string>

#include "common/status.h"
#include "scheduler/journal.h"

namespace mixrec::bo_driver {

// The page: inline SVG and styles, no script, nothing fetched. History of the scores, the best
// architecture by layer, effect of each bit with its uncertainty, best and failed trials.
std::string RenderReport(const scheduler::StudyRecord& study);

// One line a trial: number,state,value,seconds,source,acquisition,architecture,started,completed,
// reason.
std::string TrialsCsv(const scheduler::StudyRecord& study);

// Writes both into FOLDER.
absl::Status WriteReportFiles(const scheduler::StudyRecord& study, const std::string& folder);

// Reads FOLDER/study.journal and writes FOLDER/report.html and FOLDER/trials.csv, atomically.
absl::Status WriteStudyReport(const std::string& folder);

}  // namespace mixrec::bo_driver
