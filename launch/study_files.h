// A study's folder as others look at it: its journal, and who writes it. Only reads.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "common/status.h"
#include "scheduler/study_view.h"

namespace mixrec::launch {

// DataError when FOLDER holds no study. What the journal of a study of one process does not say
// (how many trials are wanted, whether it is over) comes from FOLDER/run.json.
absl::StatusOr<scheduler::StudyView> ReadStudyView(const std::string& folder);

// The process that last wrote the study.
struct StudyWriter {
  std::string host;
  int64_t process = 0;
  std::optional<bool> alive;  // nullopt: it is another host's
};
std::optional<StudyWriter> WriterOf(const std::string& folder);

// FOLDER/scheduler.json (docs/groups.md); null when no scheduler is there.
nlohmann::json SchedulerRecord(const std::string& folder);

// What there is to show. One call at a time.
using StudySource = std::function<absl::StatusOr<std::shared_ptr<const scheduler::StudyView>>()>;

// The study of a folder; its journal is read again when it has grown.
StudySource FolderSource(const std::string& folder);

}  // namespace mixrec::launch
