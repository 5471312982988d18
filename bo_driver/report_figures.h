// The figures of a study's report, as SVG elements. Colours come from the page's CSS classes, so
// that light and dark pages read alike. Private to the report.
#pragma once

#include <string>
#include <vector>

#include "bo_driver/driver.h"
#include "scheduler/journal.h"

namespace mixrec::bo_driver {

// Text with the characters that HTML and SVG reserve escaped.
std::string Escaped(std::string_view text);

// Scores by trial, and the best so far; failed trials as crosses at the bottom.
std::string HistoryFigure(const scheduler::StudyRecord& study);

// Layers by sites, the top layer first: serial or parallel.
std::string ArchitectureFigure(const std::string& bits);

// Layers by sites: effect of parallel instead of serial, with its standard error. Cells whose
// effect is below two standard errors stay pale.
std::string EffectFigure(const std::vector<BitEffect>& effects);

}  // namespace mixrec::bo_driver
