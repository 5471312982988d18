// What all processes of a search share: what is searched, how a trial is scored, and what groups
// are told of it.
#pragma once

#include <map>
#include <string>

#include "bo_driver/study_definition.h"
#include "launch/materials.h"
#include "launch/run_folder.h"
#include "worker/search_objective.h"

namespace mixrec::launch {

// From the flags. The backbone must be loaded, and, for limits of a trial, the catalogue. The
// options keep copies only, but for `feasible`, which needs the materials to stay.
absl::StatusOr<bo_driver::StudyOptions> StudyOptionsOfFlags(const Materials& materials);

// Trains and scores trials below STUDY/trials. Keeps pointers into the materials, `others`: where
// trials in several threads step together, or null; and `group`: the ranks that train every trial
// together, or null.
absl::StatusOr<worker::SearchObjective> MakeObjective(const Materials& materials,
                                                      const std::string& study_folder,
                                                      worker::SideBySide* others,
                                                      collective::Group* group);

// The study as a run of `mixrec search`, whichever command works on it, in the folder.
RunRequest StudyRequest(const Invocation& invocation, const Materials& materials,
                        const std::string& folder);

// What a group must know to work on a study; travels as JSON.
struct StudyBrief {
  std::string folder;                         // absolute
  std::string id;                             // RunFolder::id
  std::map<std::string, std::string> flags;   // of `mixrec search`, paths absolute
  std::map<std::string, std::string> hashes;  // of the inputs, by name
};
StudyBrief BriefOf(const RunRequest& request, const RunFolder& run);
std::string BriefText(const StudyBrief& brief);
// DataError when it is none.
absl::StatusOr<StudyBrief> ParseBrief(const std::string& text);

// DataError naming the input whose content is not the study's.
absl::Status CheckSameInputs(const StudyBrief& brief, const RunRequest& request);

}  // namespace mixrec::launch
