// The parts of a report that are text and tables. Private to the report.
#pragma once

#include <string>

#include "scheduler/study_view.h"

namespace mixrec::bo_driver {

int AliveGroups(const scheduler::StudyView& view);
// How long ago a group was heard, or left: "12 s ago"; empty where nobody knows.
std::string LastWord(const scheduler::GroupView& group, double now);

// Tiles: best score, trials, groups, time left.
std::string SummaryTiles(const scheduler::StudyView& view);
// A row a trial with its bits, best first; then those that have no score yet or none at all.
std::string ArchitectureRows(const scheduler::StudyView& view);
// What each group is and does.
std::string GroupRows(const scheduler::StudyView& view, double now);
std::string FailureRows(const scheduler::StudyView& view);
std::string SettingRows(const scheduler::StudyView& view);

}  // namespace mixrec::bo_driver
